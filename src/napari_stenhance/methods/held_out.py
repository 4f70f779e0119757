"""Spots that were held out from learning, kept with a model, for what is asked of it later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.drawing import some_of
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.section.spots import log1p_cp10k
from napari_stenhance.storage.checked import has_node, open_node, read_whole
from napari_stenhance.storage.tiles import create_array

Arrays = dict[str, NDArray[Any]]
GROUP = "held_out"
_MOST = 2_000
_AXES = {
    "latents": ("spot", "latent"),
    "counts": ("count",),
    "spots": ("count",),
    "starts": ("gene_end",),
    "depth": ("spot",),
    "xy_um": ("spot", "axis"),
    "section": ("spot",),
    "diameter_um": ("one",),
}


class HeldOutSpots:
    """What members said of spots that they had not learned from, and what was counted there.

    Parameters
    ----------
    read : callable
        Returns the arrays; called once, when one is needed.
    """

    def __init__(self, read: Callable[[], Arrays]) -> None:
        self._read = read

    @classmethod
    def of(
        cls, latents: NDArray[np.float32], samples: Sequence[TrainingSection], genes: Sequence[str]
    ) -> HeldOutSpots | None:
        """Keep at most 2,000 spots, drawn with a fixed seed; None where none was held out.

        Parameters
        ----------
        latents : ndarray of float32, shape (spots of all sections, r)
            Before the decoder's weights; NaN where no member held a spot out.
        samples : sequence of TrainingSection
        genes : sequence of str
            Of the decoder.
        """
        known = np.flatnonzero(np.isfinite(latents).all(axis=1))
        if not len(known):
            return None
        kept = known[some_of(len(known), _MOST, np.random.default_rng(0))]
        counted = sp.vstack([s.counts_of(genes) for s in samples], format="csr")[kept]
        counts = sp.csc_array(counted, dtype=np.float32)
        counts.sort_indices()
        sizes = [len(s.xy_um) for s in samples]
        arrays: Arrays = {
            "latents": latents[kept].astype(np.float32),
            "counts": counts.data,
            "spots": counts.indices.astype(np.int32),
            "starts": counts.indptr.astype(np.int64),
            "depth": np.concatenate([s.library for s in samples])[kept].astype(np.float64),
            "xy_um": np.concatenate([s.xy_um for s in samples])[kept].astype(np.float64),
            "section": np.repeat(np.arange(len(samples), dtype=np.int32), sizes)[kept],
            "diameter_um": np.array([samples[0].spot_diameter_um], np.float64),
        }
        return cls(lambda: arrays)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> HeldOutSpots | None:
        """Take them as `arrays` gave them; None where an older model has none."""
        return cls(lambda: arrays) if arrays else None

    @cached_property
    def arrays(self) -> Arrays:
        """All that is kept, by name, checked to fit together.

        Raises
        ------
        InputError
            If they do not.
        """
        found = self._read()
        if not _fit(found):
            msg = (
                "The held-out spots that this run, or model, keeps are damaged: their arrays do "
                "not fit together. Copy it again, or learn again into a new result."
            )
            raise InputError(msg)
        return found

    def __len__(self) -> int:
        return len(self.arrays["depth"])

    @property
    def latents(self) -> NDArray[np.float32]:
        """What was predicted, (spots, r), to be decoded."""
        return self.arrays["latents"]

    @property
    def xy_um(self) -> NDArray[np.float64]:
        """Positions in micrometres, (spots, 2), each in its own section."""
        return self.arrays["xy_um"]

    @property
    def section(self) -> NDArray[np.int32]:
        """Which section each spot is of, (spots,)."""
        return self.arrays["section"]

    @property
    def diameter_um(self) -> float:
        """Of a spot, in micrometres."""
        return float(self.arrays["diameter_um"][0])

    def measured(self, genes: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return what was measured of some genes of the decoder, (spots, genes), log1p CP10k."""
        kept = self.arrays
        shape = (len(self), len(kept["starts"]) - 1)
        whole = sp.csc_array((kept["counts"], kept["spots"], kept["starts"]), shape=shape)
        values: NDArray[np.float32] = log1p_cp10k(
            sp.csr_array(whole[:, genes]), kept["depth"]
        ).toarray()
        return values

    def write(self, group: zarr.Group) -> None:
        """Write the arrays below a decoder."""
        inside = group.create_group(GROUP)
        for name, values in self.arrays.items():
            array = create_array(
                inside,
                name,
                shape=values.shape,
                chunks=tuple(max(size, 1) for size in values.shape),
                dtype=values.dtype.str.lstrip("<|"),
                dimension_names=_AXES[name],
            )
            array[...] = values

    @classmethod
    def find(cls, group: zarr.Group) -> HeldOutSpots | None:
        """Open what `write` wrote, to be read when it is needed; None in an older result."""
        if not has_node(group, GROUP):
            return None
        inside = open_node(group, GROUP, zarr.Group)
        return cls(lambda: {n: read_whole(open_node(inside, n, zarr.Array)) for n in _AXES})


def _fit(found: Arrays) -> bool:
    """Tell whether arrays are all there, and agree in their lengths and what they point at."""
    ranks = {"latents": 2, "xy_um": 2}
    if any(n not in found or found[n].ndim != ranks.get(n, 1) for n in _AXES):
        return False
    spots, starts, rows = len(found["depth"]), found["starts"], found["spots"]
    fits = all(len(found[name]) == spots for name in ("latents", "xy_um", "section"))
    fits = fits and found["xy_um"].shape[1] == 2 and len(found["diameter_um"]) == 1
    fits = fits and len(starts) > 0 and starts[0] == 0 and bool((np.diff(starts) >= 0).all())
    fits = fits and starts[-1] == len(rows) == len(found["counts"])
    return bool(fits and (not len(rows) or (rows.min() >= 0 and rows.max() < spots)))
