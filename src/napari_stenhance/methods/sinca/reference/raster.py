"""Where the published network sees a spot: the raster of a batch, and the code of its position.

Spots come in groups, (groups, spots, …): each group is a batch of the published program, which saw
one at a time, and lies on a raster of its own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_TINY = 1e-8
_PLACES_PER_ROOT = 1.5


class SquareRasters(NamedTuple):
    """Where spots lie on square rasters, one for each group.

    Attributes
    ----------
    at : Tensor of int64, shape (groups · spots,)
        (group · side + row) · side + column.
    groups, side : int
    """

    at: Tensor
    groups: int
    side: int


def places_of(xy: Tensor) -> SquareRasters:
    """Lay each group of spots on a raster of int(1.5 √spots) rows and as many columns.

    x counts rows and y columns. Positions are scaled to 0 … side − 1 over the group and cut to
    integers, so that only spots at the very maximum reach the last row or column.

    Parameters
    ----------
    xy : Tensor of float32, shape (groups, spots, 2)
    """
    groups, spots, _ = xy.shape
    side = int(math.sqrt(spots) * _PLACES_PER_ROOT)
    cell = (unit_square(xy) * (side - 1)).long().clamp_(0, side - 1)
    group = torch.arange(groups, device=xy.device)[:, None]
    return SquareRasters(
        ((group * side + cell[..., 0]) * side + cell[..., 1]).reshape(-1), groups, side
    )


def unit_square(xy: Tensor) -> Tensor:
    """Scale each axis to 0 … 1 over the spots of a group, (…, spots, 2)."""
    low, high = xy.amin(dim=-2, keepdim=True), xy.amax(dim=-2, keepdim=True)
    return (xy - low) / (high - low + _TINY)


def scattered(values: Tensor, places: SquareRasters) -> Tensor:
    """Lay values on the rasters: the mean of the spots that share a place, 0 where there are none.

    Parameters
    ----------
    values : Tensor, shape (groups · spots, width)

    Returns
    -------
    Tensor, shape (groups, width, side, side)
    """
    at, groups, side = places
    total = values.new_zeros(groups * side**2, values.shape[1]).index_add(0, at, values)
    count = values.new_zeros(len(total)).index_add(0, at, torch.ones_like(values[:, 0]))
    mean = total / count.clamp(min=1)[:, None]
    return mean.view(groups, side, side, -1).permute(0, 3, 1, 2)


def gathered(raster: Tensor, places: SquareRasters) -> Tensor:
    """Read back what lies at the place of each spot, (groups · spots, width)."""
    flat = raster.permute(0, 2, 3, 1).reshape(places.groups * places.side**2, -1)
    return flat.index_select(0, places.at)


def position_code(xy: Tensor, width: int) -> Tensor:
    """Return sin((i + 1) π x) in each even channel i, and cos((i + 1) π y) in the one after it.

    Positions are divided by the largest absolute coordinate of the group, and not centred; the
    frequencies 1, 3, 5, … are those of the published program.

    Parameters
    ----------
    xy : Tensor of float32, shape (groups, spots, 2)
    width : int
        Even.

    Returns
    -------
    Tensor of float32, shape (groups, spots, width)
    """
    scaled = xy / (xy.abs().amax(dim=(1, 2), keepdim=True) + _TINY)
    frequency = math.pi * torch.arange(1, width, 2, device=xy.device, dtype=xy.dtype)
    waves = (scaled[..., :1] * frequency).sin(), (scaled[..., 1:] * frequency).cos()
    return torch.stack(waves, dim=-1).flatten(-2)
