"""Where the spots of a section are, as a network sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stenhance.methods import drawing
from napari_stenhance.methods.sinca.network import waves
from napari_stenhance.methods.sinca.raster import SpotRaster, filled_up, raster_windows


@dataclass(frozen=True)
class SpotLayout:
    """Positions of spots, their raster, and the windows that look at each other."""

    waves: Tensor
    raster: SpotRaster
    windows: Tensor

    @classmethod
    def of(cls, xy: NDArray[np.float64], most: int, device: torch.device) -> SpotLayout:
        """Lay out a whole section; the windows have at most so many spots."""
        return cls(
            torch.tensor(waves(xy), device=device),
            SpotRaster.from_positions(xy, device),
            torch.tensor(raster_windows(xy, most), device=device),
        )

    def only(
        self, xy: NDArray[np.float64], drawn: Sequence[NDArray[np.int64]], most: int
    ) -> SpotLayout:
        """Keep what was drawn, one after the other: they see nothing of each other.

        At its rim a spot of what was drawn sees less around it, as at the rim of the tissue.
        """
        at, parts, before = np.concatenate(drawn), [], 0
        for window in drawn:
            parts += [before + part for part in drawing.windows(xy[window], most)]
            before += len(window)
        device = self.waves.device
        return SpotLayout(
            self.waves[torch.tensor(at, device=device)],
            self.raster.only(drawn),
            torch.tensor(filled_up(parts), device=device),
        )
