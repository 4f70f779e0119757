"""Read crops around positions, and encode them in chunks that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from napari_stenhance.features.encoder import CropEncoder
from napari_stenhance.running.device import threads
from napari_stenhance.running.job import Job
from napari_stenhance.running.prefetch import prefetch
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.tiles import is_done

CHUNK = 32


@dataclass(frozen=True)
class Crops:
    """Which crops of a slide, and what encodes them.

    Attributes
    ----------
    slide : Slide
    encoder : CropEncoder
    sizes_um : tuple of float
        Sides of the crops around each position, in micrometres.
    """

    slide: Slide
    encoder: CropEncoder
    sizes_um: tuple[float, ...]

    @property
    def dim(self) -> int:
        """Length of a feature vector, over all sizes."""
        return self.encoder.dim * len(self.sizes_um)

    def key(self, *more: str) -> str:
        """Name an entry of the cache."""
        sizes = "+".join(f"{s:.17g}" for s in self.sizes_um) + "um"
        return "-".join([self.slide.sha256[:32], self.encoder.fingerprint(), sizes, *more])

    def read(self, xy_um: NDArray[np.float64], size_um: float) -> NDArray[np.uint8]:
        """Read crops of one size around positions (x, y): (n, side_px, side_px, 3).

        Their pixels lie on one lattice over the slide, so that a crop does not depend on which
        others are read; beyond the slide all is white.
        """
        side = self.encoder.side_px
        pixel_um = size_um / side
        corner = np.array(self.slide.extent_um()[:2])
        # Rounded twice, so that a crop halfway between pixels does not hang on the last bit.
        start = np.round((xy_um - corner) / pixel_um - side / 2, 6)
        first = np.floor(start + 0.5).astype(np.int64)
        crops = np.empty((len(first), side, side, 3), np.uint8)
        block_of = first // (2 * side)
        for block in np.unique(block_of, axis=0):
            here = (block_of == block).all(axis=1)
            low, high = first[here].min(axis=0), first[here].max(axis=0) + side
            x0, y0 = corner + low * pixel_um
            x1, y1 = corner + high * pixel_um
            pixels = self.slide.read((x0, y0, x1, y1), pixel_um)
            x, y = (first[here] - low).T
            windows = sliding_window_view(pixels, (side, side), axis=(0, 1))
            crops[here] = windows[y, x].transpose(0, 2, 3, 1)
        return crops

    def fill(
        self,
        values: zarr.Array[Any],
        xy_um: NDArray[np.float64],
        job: Job,
        wanted: NDArray[np.bool_],
    ) -> None:
        """Encode the chunks of positions that hold a wanted one and are missing."""
        chunks = [
            slice(i, min(i + CHUNK, len(xy_um)))
            for i in range(0, len(xy_um), CHUNK)
            if wanted[i : i + CHUNK].any()
        ]
        missing = [c for c in chunks if not is_done(values, (c.start // CHUNK,))]
        if not missing:
            return
        total, left = (sum(c.stop - c.start for c in some) for some in (chunks, missing))

        def read(chunk: slice) -> list[NDArray[np.uint8]]:
            return [self.read(xy_um[chunk], size) for size in self.sizes_um]

        # What is read, and about as much again while it is averaged.
        chunk_bytes = 2 * CHUNK * len(self.sizes_um) * self.encoder.side_px**2 * 3
        workers = max(min(threads(), job.memory_bytes // chunk_bytes), 1)
        doing = f"Encoding crops of {self.slide.name} with {self.encoder.name}"
        with job.stage(doing, total) as stage:
            stage.skip(total - left)
            for chunk, crops in zip(missing, prefetch(read, missing, workers), strict=True):
                values[chunk] = np.concatenate([self._encode(c, job) for c in crops], axis=1)
                stage.advance(chunk.stop - chunk.start)

    def _encode(self, crops: NDArray[np.uint8], job: Job) -> NDArray[np.float32]:
        encoder = self.encoder
        parts = []
        for start in range(0, len(crops), encoder.batch):
            job.check()
            parts.append(encoder.encode(crops[start : start + encoder.batch]))
        return np.concatenate(parts)
