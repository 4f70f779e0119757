"""What imputation must beat, by small examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_stenhance.errors import Cancelled
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.cell_baselines import BASELINES, Both


def types_apart(spots: int = 12) -> tuple[Both, np.ndarray, np.ndarray]:
    """Return spots of two types, 60 cells of each, a gene asked for, and the types of spots."""
    rng = np.random.default_rng(0)
    kind = np.arange(spots) % 2
    profile = np.where(np.arange(10) % 2 == np.arange(2)[:, None], 3.0, 1.0)
    of_cell = np.repeat([0, 1], 60)
    # The assays differ, gene by gene.
    offset = rng.random((2, 10)) * 5
    both = Both(
        (profile[kind] + offset[0] + 0.1 * rng.random((spots, 10))).astype(np.float32),
        (profile[of_cell] + offset[1] + 0.1 * rng.random((120, 10))).astype(np.float32),
        np.arange(spots) * 10.0,
    )
    return both, (5.0 * of_cell[:, None] + [0, 1]).astype(np.float32), kind


def test_library_size_and_reference_mean() -> None:
    both, wanted, _ = types_apart()
    library = BASELINES["library size"](both, wanted, 0, Job())
    np.testing.assert_array_equal(library, np.stack([both.library] * 2, axis=1))
    mean = BASELINES["reference mean"](both, wanted, 0, Job())
    np.testing.assert_allclose(mean, [[2.5, 3.5]] * 12)
    assert library.dtype == mean.dtype == np.float32


def test_nearest_cells_are_those_of_the_type() -> None:
    both, wanted, kind = types_apart()
    found = BASELINES["nearest cells"](both, wanted, 0, Job())
    np.testing.assert_allclose(found, 5.0 * kind[:, None] + [0, 1], rtol=1e-6)
    few = replace(both, cells=both.cells[[0, 70]])
    mean = BASELINES["nearest cells"](few, wanted[[0, 70]], 0, Job())
    np.testing.assert_allclose(mean, [[2.5, 3.5]] * 12)


def test_mapping_finds_the_cell_that_a_spot_is() -> None:
    rng = np.random.default_rng(0)
    cells = rng.gamma(0.5, 2, (12, 40)).astype(np.float32)
    order = rng.permutation(12)
    both = Both(cells[order], cells, np.ones(12))
    own = np.eye(12, dtype=np.float32)
    found = BASELINES["mapping"](both, own, 0, Job())
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=1), order)
    np.testing.assert_array_equal(found, BASELINES["mapping"](both, own, 0, Job()))
    assert not np.array_equal(found, BASELINES["mapping"](both, own, 1, Job()))
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        BASELINES["mapping"](both, own, 0, job)
