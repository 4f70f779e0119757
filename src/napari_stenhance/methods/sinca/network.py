"""The network of `robust`: spots and cells in one space, and what spots attend to.

The parts are those of the published network (methods page, 1.4): projection, position, convolution
over the raster of spots, cross-attention to the cells, transformer over spots. Its heads, one
output for each gene, are replaced by one more attention to the cells, whose weights are read as
what a spot is made of: so that any gene of the cells can be predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize, relu, scaled_dot_product_attention

from napari_stenhance.methods.sinca.raster import SpotRaster

_WAVES = (1.0, 2.0, 4.0)
# More than learning ever sees.
_WINDOWS_AT_ONCE = 128


@dataclass(frozen=True)
class Parts:
    """Which parts a network has, and how large they are.

    Attributes
    ----------
    width : int
        Of the space that spots and cells are compared in.
    heads : int
        Of the cross-attention and of the transformer.
    sharpness : float
        What the cosine of spot and cell is multiplied with at first; it is learned.
    dropout : float
    convolution, reference : bool
        Whether the network looks at spots around, and at cells; without cells all genes get one
        map. For ablations.
    """

    width: int = 64
    heads: int = 4
    sharpness: float = 7.0
    dropout: float = 0.1
    convolution: bool = True
    reference: bool = True


def waves(xy: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return sines and cosines of positions, (spots, 12): centred, in units of half the section."""
    centred = xy - (xy.min(axis=0) + xy.max(axis=0)) / 2
    unit = centred / (np.abs(centred).max() or 1.0)
    angle = (np.pi / 2) * np.concatenate([unit * wave for wave in _WAVES], axis=1)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


class SincaNet(nn.Module):
    """Spots and cells in one space.

    It begins as the projection on the principal axes that it is given: every other part adds to
    that, and adds nothing at first.

    Parameters
    ----------
    axes : Tensor, shape (genes, width)
        Orthonormal, or zero.
    parts : Parts
    """

    def __init__(self, axes: Tensor, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        width = parts.width
        self.axes = nn.Parameter(axes.clone())
        self.position = nn.Linear(4 * len(_WAVES), width, bias=False)
        self.near = nn.Conv2d(width + 1, width, 3, padding=1)
        self.far = nn.Conv2d(width, width, 3, padding=1)
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.among = nn.TransformerEncoderLayer(
            width, parts.heads, 4 * width, parts.dropout, norm_first=True, batch_first=True
        )
        # Dropout of attention weights alone keeps torch from its fast attention.
        self.among.self_attn.dropout = 0.0
        self.log_sharpness = nn.Parameter(torch.tensor(parts.sharpness).log())
        self.score = nn.Linear(width, 1)
        self.drop = nn.Dropout(parts.dropout)
        adding = [self.position, self.far, self.mix]
        for last in (*adding, self.among.self_attn.out_proj, self.among.linear2):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        spots: Tensor,
        cells: Tensor,
        seen: Tensor,
        where: Tensor,
        raster: SpotRaster,
        windows: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return spots, (spots, width), and cells, (cells, width).

        Parameters
        ----------
        spots, cells : Tensor, (…, genes)
            Standardised log1p CP10k.
        seen : Tensor of float32, shape (genes,)
            1 for genes that are seen, 0 for those that are hidden.
        where : Tensor, shape (spots, 12)
            See `waves`.
        raster : SpotRaster
        windows : Tensor of int64
            See `raster.windows`.
        """
        keys = self.projected(cells, seen)
        return self.placed(self.projected(spots, seen), keys, where, raster, windows), keys

    def projected(self, rows: Tensor, seen: Tensor) -> Tensor:
        """Project spots or cells, each for itself, (…, width)."""
        return normalize(rows @ (self.axes * seen[:, None]), dim=1) * self.parts.width**0.5

    def placed(
        self, values: Tensor, keys: Tensor, where: Tensor, raster: SpotRaster, windows: Tensor
    ) -> Tensor:
        """Let projected spots see where they are, those around them, and the cells."""
        values = values + self.position(where)
        if self.parts.convolution:
            values = values + self._around(values, raster)
        if self.parts.reference:
            values = values + self._across(values, keys)
        return self._along(values, windows)

    def _around(self, values: Tensor, raster: SpotRaster) -> Tensor:
        """Look at the spots around: two convolutions on the raster of the whole section."""
        occupied = raster.occupied
        first = relu(self.near(torch.cat([raster.scatter(values), occupied], dim=1)))
        return raster.gather(self.far(self.drop(first) * occupied))

    def _across(self, values: Tensor, keys: Tensor) -> Tensor:
        """Attend to the cells."""
        query, key, value = (
            part(rows).unflatten(1, (self.parts.heads, -1)).transpose(0, 1)[None]
            for part, rows in ((self.query, values), (self.key, keys), (self.value, keys))
        )
        attended = scaled_dot_product_attention(query, key, value)[0]
        mixed: Tensor = self.mix(attended.transpose(0, 1).flatten(1))
        return mixed

    def _along(self, values: Tensor, windows: Tensor) -> Tensor:
        """Attend to the other spots of a window."""
        rows = torch.cat([self._among(values, some) for some in windows.split(_WINDOWS_AT_ONCE)])
        # Each spot is in one window: sorted by spot, after those that are nobody.
        back = torch.argsort(windows.flatten(), stable=True)[-len(values) :]
        return rows.flatten(0, 1).index_select(0, back)

    def _among(self, values: Tensor, windows: Tensor) -> Tensor:
        nobody = windows < 0
        rows = values.index_select(0, windows.clamp(min=0).flatten())
        among: Tensor = self.among(
            rows.unflatten(0, tuple(windows.shape)),
            src_key_padding_mask=nobody if bool(nobody.any()) else None,
        )
        return among

    def attention(self, spots: Tensor, keys: Tensor) -> Tensor:
        """Return what each spot is made of: weights of the cells that sum to 1, (spots, cells)."""
        cosine = normalize(spots, dim=1) @ normalize(keys, dim=1).T
        return (cosine * self.log_sharpness.exp()).softmax(dim=1)
