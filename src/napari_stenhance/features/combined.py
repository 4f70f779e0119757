"""Features of several encoders side by side."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.source import FeatureSource
from napari_stenhance.section.grid import Grid


@dataclass(frozen=True, eq=False)
class CombinedFeatures(FeatureSource):
    """The vectors of several encoders, one after the other, each standardised by itself.

    Each has its own entry in the cache, which it shares with runs that see it alone. Of crops of
    several sizes, the vectors of one size lie together.

    Attributes
    ----------
    parts : tuple of FeatureSource
    """

    parts: tuple[FeatureSource, ...]

    @cached_property
    def grid(self) -> Grid:
        """Of all of them.

        Raises
        ------
        InputError
            If their superpixels differ in size.
        """
        first, *others = (part.grid for part in self.parts)
        for n, grid in enumerate(others, 1):
            if grid != first:
                names = [part.settings.encoder.name for part in self.parts]
                msg = (
                    f"Encoder {self.settings.encoder.name}: {names[0]} makes superpixels of "
                    f"{first.pitch_um:g} µm and {names[n]} of {grid.pitch_um:g} µm; join encoders "
                    "of the same."
                )
                raise InputError(msg, option="encoder")
        return first

    @property
    def tissue(self) -> NDArray[np.bool_]:
        """Which superpixels of the grid are tissue."""
        return self.parts[0].tissue

    @property
    def fingerprint(self) -> str:
        """Identify weights and settings of all of them."""
        return "+".join(part.fingerprint for part in self.parts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What any of them says of the slide."""
        return tuple(dict.fromkeys(doubt for part in self.parts for doubt in part.doubts))

    @property
    def key(self) -> str:
        """Of the cache entries."""
        return "+".join(part.key for part in self.parts)

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return sum(part.dim for part in self.parts)

    @property
    def groups(self) -> tuple[int, ...]:
        """Those of all of them, for one size of crop after the other."""
        of_one = (part.groups[: len(part.groups) // self.sizes] for part in self.parts)
        return tuple(itertools.chain.from_iterable(of_one)) * self.sizes

    def extract(self, needed: NDArray[np.bool_] | None = None) -> None:
        """Extract the features of each encoder."""
        _ = self.grid  # said before anything is computed
        for part in self.parts:
            part.extract(needed)

    def superpixels(
        self, row: NDArray[np.int64], column: NDArray[np.int64], *, raw: bool = False
    ) -> NDArray[np.float32]:
        """Read single superpixels."""
        return self._joined([part.superpixels(row, column, raw=raw) for part in self.parts])

    def at(self, xy_um: NDArray[np.float64], *, raw: bool = False) -> NDArray[np.float32]:
        """Return the features at any positions."""
        return self._joined([part.at(xy_um, raw=raw) for part in self.parts])

    def _joined(self, values: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        by_size = [v.reshape(len(v), self.sizes, v.shape[1] // self.sizes) for v in values]
        return np.concatenate(by_size, axis=2).reshape(len(values[0]), self.dim)
