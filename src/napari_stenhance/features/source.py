"""What a method sees of one slide through an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import DeviceMemoryError, InputError
from napari_stenhance.features.encoder import (
    CropEncoder,
    FeatureTile,
    SlideEncoder,
    SuperpixelEncoder,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from napari_stenhance.features.masks import TissueKind
    from napari_stenhance.features.registry import Encoder
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.section.slide import Slide
    from napari_stenhance.storage.cache import Cache

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class CropLayout:
    """Which crops a method sees.

    Attributes
    ----------
    sizes_um : tuple of float
        Their sides around each position, in micrometres.
    pitch_um : float
        Of the grid around whose superpixels they lie.
    """

    sizes_um: tuple[float, ...]
    pitch_um: float


@dataclass(frozen=True)
class FeatureSettings:
    """How slides are seen, the same for all slides of a run.

    Attributes
    ----------
    encoder : Encoder
    device : torch.device
        Where networks run.
    cache : Cache
    tissue : {"density", "histosweep"}
        How tissue is told from glass.
    crops : CropLayout or None
        None where superpixels of the encoder are seen.
    quality : bool
        Whether spots on faults of a slide are left out of learning.
    or_cpu : bool
        Whether a network that the memory of the device does not hold may run on the CPU.
    """

    encoder: Encoder
    device: torch.device
    cache: Cache
    tissue: TissueKind = "density"
    crops: CropLayout | None = None
    quality: bool = False
    or_cpu: bool = False

    @cached_property
    def parts(self) -> tuple[FeatureSettings, ...]:
        """Those of each encoder of several."""
        return tuple(replace(self, encoder=part) for part in self.encoder.parts)

    @cached_property
    def superpixel_encoder(
        self,
    ) -> tuple[Callable[[Slide], SuperpixelEncoder | SlideEncoder], tuple[str, ...]]:
        """What makes the encoder of each slide, loaded once; and doubts about where it runs.

        Raises
        ------
        InputError
            If the encoder makes no superpixels.
        """
        load = self.encoder.superpixels
        if load is None:
            msg = (
                f"Encoder {self.encoder.name}: it encodes crops, and the method sees superpixels; "
                "choose an encoder of these, such as stain, or a method that sees crops: histosge "
                "or spamcaf."
            )
            raise InputError(msg, option="encoder")
        return self._loaded(load)

    @cached_property
    def crop_encoder(self) -> tuple[CropEncoder, tuple[str, ...]]:
        """The same of an encoder that encodes crops, for all slides."""
        assert self.encoder.crops is not None
        return self._loaded(self.encoder.crops)

    def _loaded(self, load: Callable[[torch.device], Loaded]) -> tuple[Loaded, tuple[str, ...]]:
        """Load an encoder where it fits."""
        import torch

        try:
            return load(self.device), ()
        except DeviceMemoryError:
            if not self.or_cpu:
                raise
        # Only here is nothing of it left on the device.
        doubt = f"The memory of the GPU is too small for {self.encoder.name}: it ran on the CPU."
        return load(torch.device("cpu")), (doubt,)


@dataclass(frozen=True, eq=False)
class FeatureSource(ABC):
    """Features of one slide in one run; `open_features` makes it.

    What it takes time to know is found when it is first asked for. Features are standardised for
    each slide, unless raw ones are asked for.

    Attributes
    ----------
    slide : Slide
    settings : FeatureSettings
    job : Job
        Of the run.
    """

    slide: Slide
    settings: FeatureSettings
    job: Job

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """Of the superpixels, and of what is predicted from them."""

    @property
    @abstractmethod
    def tissue(self) -> NDArray[np.bool_]:
        """Which superpixels of the grid are tissue.

        Raises
        ------
        InputError
            If none is.
        """

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identify weights and settings of the encoder."""

    @property
    @abstractmethod
    def doubts(self) -> tuple[str, ...]:
        """Say what about this slide makes the features less trustworthy, one sentence each."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Of the cache entry."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of a feature vector."""

    @property
    def groups(self) -> tuple[int, ...]:
        """How many channels each kind of feature has, side by side in a vector."""
        return (self.settings.encoder.groups or (self.dim // self.sizes,)) * self.sizes

    @property
    def sizes(self) -> int:
        """Of crops, whose vectors lie side by side; 1 of superpixels."""
        return 1 if self.settings.crops is None else len(self.settings.crops.sizes_um)

    @abstractmethod
    def extract(self, needed: NDArray[np.bool_] | None = None) -> None:
        """Extract the features of some superpixels of the grid, by default of all on tissue.

        Those that are in the cache are not extracted again.

        Raises
        ------
        InputError
            If no tissue is found.
        InferenceError
            If the device fails.
        """

    @abstractmethod
    def superpixels(
        self, row: NDArray[np.int64], column: NDArray[np.int64], *, raw: bool = False
    ) -> NDArray[np.float32]:
        """Return the features of tissue superpixels that were extracted, (n, dim)."""

    @abstractmethod
    def at(self, xy_um: NDArray[np.float64], *, raw: bool = False) -> NDArray[np.float32]:
        """Return the features at any positions (x, y), (n, dim)."""

    def tile(self, rows: slice, columns: slice, halo: int = 0, *, raw: bool = False) -> FeatureTile:
        """Read a rectangle of what was extracted, with `halo` around it.

        Beyond the grid there is no tissue; off the tissue values are 0.
        """
        top, left = rows.start - halo, columns.start - halo
        height, width = (s.stop - s.start + 2 * halo for s in (rows, columns))
        row, column = np.arange(top, top + height)[:, None], np.arange(left, left + width)[None]
        inside = (row >= 0) & (row < self.grid.shape[0])
        inside = inside & (column >= 0) & (column < self.grid.shape[1])
        y, x = np.nonzero(inside)
        inside[y, x] = self.tissue[y + top, x + left]
        y, x = np.nonzero(inside)
        values = np.zeros((height, width, self.dim), np.float32)
        if len(y):
            values[y, x] = self.superpixels(y + top, x + left, raw=raw)
        core = slice(halo, height - halo), slice(halo, width - halo)
        return FeatureTile(values, inside, self.grid.centres_um(row, column), core)
