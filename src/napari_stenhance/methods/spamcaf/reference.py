"""SpaMCAF as it was coded."""

from __future__ import annotations

from torch import Tensor, nn

from napari_stenhance.methods.crops.reference.recipe import CropReferenceRecipe, warm_up_and_cosine
from napari_stenhance.methods.spamcaf.network import CROPS_UM

_WIDTH, _HIDDEN = 1024, 2048
_DROPOUT, _DROPOUT_GATE = 0.1, 0.25


class SpaMCAFReferenceNet(nn.Module):
    """Two layers for each crop, gated attention over the sizes, gene head with batch norm.

    As coded, but for the parts that nothing uses. With vectors of 1,024 features and 1,000 genes it
    has 13,607,913 parameters.

    Parameters
    ----------
    dim : int
        Length of a feature vector, over all sizes.
    sizes : int
    genes : int
    """

    def __init__(self, dim: int, sizes: int, genes: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.tokens = nn.Sequential(*_layer(dim // sizes), *_layer(_WIDTH))
        self.signal = nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.Tanh(), nn.Dropout(_DROPOUT_GATE))
        self.gate = nn.Sequential(
            nn.Linear(_WIDTH, _WIDTH), nn.Sigmoid(), nn.Dropout(_DROPOUT_GATE)
        )
        self.weigh = nn.Linear(_WIDTH, 1)
        self.head = nn.Sequential(
            *(nn.Linear(_WIDTH, _WIDTH), nn.BatchNorm1d(_WIDTH), nn.ReLU()),
            *(nn.Linear(_WIDTH, _HIDDEN), nn.BatchNorm1d(_HIDDEN), nn.ReLU()),
            *(nn.Linear(_HIDDEN, _HIDDEN), nn.BatchNorm1d(_HIDDEN), nn.ReLU()),
            nn.Linear(_HIDDEN, genes),
        )

    def forward(self, crops: Tensor, array_xy: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Predict genes; positions of a group meet only in the batch norm, while it is trained.

        Parameters
        ----------
        crops : Tensor of float32, shape (groups, n, dim)
        array_xy, there : Tensor
            Not used, as in the published program.

        Returns
        -------
        genes : Tensor, shape (groups, n, genes)
            Not negative.
        attention : Tensor, shape (groups, n, sizes)
        """
        del array_xy, there
        tokens = self.tokens(crops.unflatten(2, (self.sizes, -1)))
        weight = self.weigh(self.signal(tokens) * self.gate(tokens)).softmax(dim=2)
        fused = (weight * tokens).sum(dim=2)
        genes = self.head(fused.flatten(0, 1)).relu()
        return genes.unflatten(0, fused.shape[:2]), weight[..., 0]


def _layer(inputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, _WIDTH), nn.LayerNorm(_WIDTH), nn.GELU(), nn.Dropout(_DROPOUT)


SPAMCAF_REFERENCE = CropReferenceRecipe(
    method="spamcaf",
    crops_um=CROPS_UM,
    most_crops=None,
    make=SpaMCAFReferenceNet,
    rate=warm_up_and_cosine,
)
