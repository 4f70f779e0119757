"""The network of SpaMCAF `robust`, as it was coded: gated attention over the sizes of crops."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from napari_stenhance.methods.crops.design import Design, Outputs

CROPS_UM = (163.0, 489.0)
"""224 and 672 pixels of the published program's sections, at 0.73 µm."""
WIDTH, INNER = 64, 128
DROPOUT, DROPOUT_IN, DROPOUT_GATE = 0.4, 0.2, 0.25


class GatedAttention(nn.Module):
    """Weigh tokens against each other, and sum them.

    References
    ----------
    Ilse, Tomczak and Welling, Attention-based deep multiple instance learning, ICML 2018.

    Parameters
    ----------
    width : int
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.signal = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Dropout(DROPOUT_GATE))
        self.gate = nn.Sequential(nn.Linear(width, width), nn.Sigmoid(), nn.Dropout(DROPOUT_GATE))
        self.weigh = nn.Linear(width, 1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Sum tokens, (n, sizes, width), to (n, width); return the weights, (n, sizes), too."""
        weight = self.weigh(self.signal(tokens) * self.gate(tokens)).softmax(dim=1)
        return (weight * tokens).sum(dim=1), weight[..., 0]


class Fusion(nn.Module):
    """Two layers for the crops of every size alike, then gated attention over the sizes.

    Parameters
    ----------
    dim : int
        Length of the feature vector of one crop.
    sizes : int
    """

    def __init__(self, dim: int, sizes: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.tokens = nn.Sequential(
            nn.Dropout(DROPOUT_IN),
            *(nn.Linear(dim, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Dropout(DROPOUT)),
            *(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Dropout(DROPOUT)),
        )
        self.attention = GatedAttention(WIDTH)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse crops of all sizes, (n, sizes · dim): (n, width), and the weights, (n, sizes)."""
        fused, weight = self.attention(self.tokens(crops.unflatten(1, (self.sizes, -1))))
        return fused, weight


def gene_head(outputs: int) -> nn.Sequential:
    """Make the layers from a hidden vector to scores."""
    return nn.Sequential(
        nn.Linear(WIDTH, INNER), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(INNER, outputs)
    )


class SpaMCAFNet(nn.Module):
    """Crops of several sizes, fused; gene head. It sees no other positions.

    As published, but smaller, with more dropout, and without batch norm, by which positions of one
    batch depend on each other.

    Parameters
    ----------
    dim : int
        Length of a feature vector, over all sizes.
    sizes, outputs : int
    """

    def __init__(self, dim: int, sizes: int, outputs: int) -> None:
        super().__init__()
        self.fusion = Fusion(dim // sizes, sizes)
        self.head = gene_head(outputs)

    def forward(self, own: Tensor, around: Tensor, offset_um: Tensor, there: Tensor) -> Outputs:
        """Return scores of positions, and the attention over sizes; parameters as in `Inputs`."""
        del around, offset_um, there
        fused, weight = self.fusion(own)
        scores = self.head(fused)
        return Outputs(scores, weight, scores[:, None][:, :0])


CODED = Design(
    method="spamcaf",
    variant="coded",
    crops_um=CROPS_UM,
    most_crops=None,
    offsets_um=np.empty((0, 2)),
    make=SpaMCAFNet,
)
