"""What is learned of genes beside depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.methods.basis import fit_basis
from napari_stenhance.methods.residuals import DepthFree
from napari_stenhance.section.spots import log1p_cp10k

SHARE = 0.5
GENES = tuple(f"G{n}" for n in range(30))


@dataclass
class Spots:
    """What `DepthFree` asks of a section: counts alone."""

    counts: sp.csr_array

    @property
    def library(self) -> NDArray[np.float64]:
        return np.asarray(self.counts.sum(axis=1), np.float64).ravel()

    def counts_of(self, _genes: tuple[str, ...]) -> sp.csr_array:
        return self.counts

    def log1p_cp10k(self, _genes: tuple[str, ...]) -> sp.csr_array:
        return log1p_cp10k(self.counts, self.library)


def _section(rng: np.random.Generator, spots: int, depth: float = 3000.0, sd: float = 0.7) -> Spots:
    """Counts whose shares are the same in every spot, and whose depth differs."""
    share = np.geomspace(2e-5, 0.3, len(GENES))
    share /= share.sum()
    depths = depth * np.exp(sd * rng.standard_normal((spots, 1)))
    return Spots(sp.csr_array(rng.poisson(depths * share).astype("f4")))


def _dense(free: DepthFree) -> list[NDArray[np.float64]]:
    return [
        part.toarray() - np.outer(*trend)
        for part, trend in zip(free.expressions, free.trends, strict=True)
    ]


def test_half_is_log1p_and_half_are_pearson_residuals_in_its_unit() -> None:
    rng = np.random.default_rng(0)
    section = _section(rng, 50, sd=0.3)
    counts, depth = section.counts.toarray().astype(float), section.library
    expected = np.outer(depth, counts.sum(axis=0) / depth.sum())
    residual = (counts - expected) / np.sqrt(expected)
    (found,) = _dense(DepthFree.of([section], GENES, SHARE))
    left = (found - (1 - SHARE) * section.log1p_cp10k(GENES).toarray()) / SHARE
    kept = residual < np.sqrt(50)
    assert kept.all()
    unit = (left * residual).sum(axis=0) / np.square(residual).sum(axis=0)
    np.testing.assert_allclose(left, residual * unit, atol=1e-4)
    # Of a gene that is counted often, noise of counting moves log1p by one over its root.
    middle = np.exp(np.log(depth).mean()) * counts.sum(axis=0) / depth.sum()
    share = 1e4 * counts.sum(axis=0) / depth.sum()
    first_order = share / (1 + share) / np.sqrt(middle)
    np.testing.assert_allclose(unit[-3:], first_order[-3:], rtol=0.02)


def test_residuals_do_not_follow_depth_where_log1p_does() -> None:
    section = _section(np.random.default_rng(1), 4000)
    log_depth = np.log(section.library)
    log = section.log1p_cp10k(GENES).toarray()
    (found,) = _dense(DepthFree.of([section], GENES, SHARE))
    residual = found - (1 - SHARE) * log

    def follows(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.array([np.corrcoef(v, log_depth)[0, 1] for v in values.T])

    seldom = slice(3, 15)
    assert follows(log)[seldom].min() > 0.1
    assert np.abs(follows(residual)).max() < 0.06


def test_depth_gives_back_what_counting_adds_to_log1p() -> None:
    section = _section(np.random.default_rng(2), 60_000, sd=0.25)
    free = DepthFree.of([section], GENES, SHARE)
    log = section.log1p_cp10k(GENES).toarray()
    about = free.depth - free.depth.mean()
    slope = about @ (log - log.mean(axis=0)) / (about @ about)
    np.testing.assert_allclose(free.depth_weights, SHARE * slope, atol=0.02)
    assert free.depth_weights.max() > 0.1
    np.testing.assert_allclose(
        np.exp(about), np.exp(np.log(section.library) - np.log(section.library).mean()), rtol=1e-4
    )


def test_depth_of_each_section_is_its_own() -> None:
    rng = np.random.default_rng(3)
    free = DepthFree.of([_section(rng, 40), _section(rng, 30, depth=9000.0)], GENES, SHARE)
    assert free.depth[:40].mean() == pytest.approx(0, abs=1e-5)
    assert free.depth[40:].mean() == pytest.approx(0, abs=1e-5)


def test_a_count_beyond_all_others_is_cut_off() -> None:
    rng = np.random.default_rng(4)
    section = _section(rng, 100, sd=0.3)
    counts = section.counts.toarray()
    counts[7, 2] = 500
    free = DepthFree.of([Spots(sp.csr_array(counts))], GENES, SHARE)
    one = (
        _dense(free)[0][:, 2]
        - (1 - SHARE) * Spots(sp.csr_array(counts)).log1p_cp10k(GENES).toarray()[:, 2]
    )
    depth = counts.sum(axis=1)
    expected = depth * counts[:, 2].sum() / depth.sum()
    residual = (counts[:, 2] - expected) / np.sqrt(expected)
    assert residual[7] > 3 * np.sqrt(100)
    unit = (one[:7] @ residual[:7]) / (residual[:7] @ residual[:7])
    assert one[7] / unit == pytest.approx(np.sqrt(100), rel=0.05)


def test_a_gene_that_is_nowhere_is_nothing() -> None:
    section = _section(np.random.default_rng(5), 40)
    counts = section.counts.toarray()
    counts[:, 4] = 0
    free = DepthFree.of([Spots(sp.csr_array(counts))], GENES, SHARE)
    assert not _dense(free)[0][:, 4].any()
    assert free.depth_weights[4] == 0


@pytest.mark.parametrize("many", [False, True])
def test_the_basis_is_that_of_what_is_left(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    free = DepthFree.of([_section(rng, 60), _section(rng, 45)], GENES, SHARE)
    if many:
        monkeypatch.setattr("napari_stenhance.methods.basis._MANY", 50)
    basis, scores = fit_basis(free.expressions, 4, 0, trends=free.trends)
    centred = np.concatenate([d - d.mean(axis=0) for d in _dense(free)])
    values = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(scores, centred @ basis.axes.T, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(scores, axis=0), values[:4], rtol=2e-2)
