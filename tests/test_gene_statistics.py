"""Mean and Moran's I of every gene at once, beside what loops say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from napari_stenhance.results.domains import DomainRunContent, new_domains, write_run
from napari_stenhance.results.gene_statistics import count_statistics
from napari_stenhance.results.imputed import imputed_run
from napari_stenhance.results.label_map import raster_labels
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.results.summaries import Expression
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.moran import morans_i, morans_i_of_latent, raster_links, spot_links
from tiny_result import GENES, GRID, RUN


def _moran(values: np.ndarray, linked: np.ndarray) -> float:
    """Compute it as the textbook writes it."""
    about = values.astype(float) - values.mean()
    products = sum(
        about[i] * about[j] for i in range(len(values)) for j in range(len(values)) if linked[i, j]
    )
    return float(len(values) / linked.sum() * products / (about**2).sum())


def test_morans_i_is_the_textbooks() -> None:
    rng = np.random.default_rng(0)
    inside = rng.random((6, 7)) < 0.8
    at = np.argwhere(inside)
    linked = np.abs(at[:, None] - at[None]).sum(axis=-1) == 1
    links = raster_links(inside)
    np.testing.assert_array_equal(links.toarray(), linked)
    latent, weights = rng.random((len(at), 3)), rng.standard_normal((3, 5))
    values = latent @ weights + 4
    expected = [_moran(column, linked) for column in values.T]
    np.testing.assert_allclose(morans_i(values, links), expected)
    np.testing.assert_allclose(morans_i_of_latent(latent, weights, links), expected)
    np.testing.assert_allclose(morans_i(sp.csc_array(values), links), expected)
    # A gradient is like beside like; what does not vary is nothing, and nor is what lies alone.
    assert morans_i(at[:, :1], links)[0] > 0.5
    assert np.isnan(morans_i(np.full((len(at), 1), 3.7), links)[0])
    assert np.isnan(morans_i(np.arange(2.0)[:, None], sp.csr_array((2, 2)))[0])


def test_spots_are_linked_with_those_around_them() -> None:
    row, column = np.mgrid[:9, :9]
    xy = np.column_stack([(column + row % 2 / 2).ravel(), row.ravel() * np.sqrt(3) / 2])
    links = spot_links(xy).toarray()
    far = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    np.testing.assert_array_equal(links, links.T)
    # In the middle, those are the six of a hexagon.
    np.testing.assert_array_equal(
        np.flatnonzero(links[40]), np.flatnonzero((far[40] > 0) & (far[40] < 1.1))
    )
    assert spot_links(xy[:1]).nnz == 0


def test_counts_are_described_in_log1p_cp10k(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(2.0, (30, 5)).astype("f4")
    xy = rng.random((30, 2))
    monkeypatch.setattr("napari_stenhance.results.gene_statistics._GENES_AT_ONCE", 2)
    said = count_statistics(sp.csc_array(counts), counts.sum(axis=1).astype(float), xy, Job())
    values = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(said.mean, values.mean(axis=0), rtol=1e-5)
    linked = spot_links(xy).toarray()
    np.testing.assert_allclose(said.moran, [_moran(v, linked) for v in values.T], rtol=1e-4)


def test_a_field_and_an_imputation_are_described_by_what_they_show(tiny: Path) -> None:
    result = ResultFolder.open(tiny)
    run = FieldRun(result, RUN)
    assert run.known_statistics is None
    said = run.statistics
    assert run.known_statistics is said
    field = run.field
    latent = np.asarray(field.latent[0][:], float)
    values = latent.reshape(-1, latent.shape[-1]) @ field.decoder.weights + field.decoder.bias
    np.testing.assert_allclose(said.mean, values.mean(axis=0), rtol=1e-5)
    links = raster_links(np.ones(latent.shape[:2], bool))
    np.testing.assert_allclose(said.moran, morans_i(values, links), rtol=1e-4, atol=1e-7)
    assert "at 16 µm, not clipped at 0 [log1p CP10k]" in said.of_mean
    imputed = imputed_run(result)
    table = imputed.table()
    values = table.layers["log1p_cp10k"].toarray()
    np.testing.assert_allclose(imputed.statistics.mean, values.mean(axis=0), rtol=1e-5)
    links = spot_links(np.asarray(table.obsm["spatial"]))
    np.testing.assert_allclose(imputed.statistics.moran, morans_i(values, links), rtol=1e-4)


def test_a_gene_is_of_the_domain_with_the_highest_mean(tiny: Path, tmp_path: Path) -> None:
    path = shutil.copytree(tiny, tmp_path / "t.stenhance.zarr")
    mean = np.array([[1, 0, 3], [2, 0, 1]], "f4")
    content = DomainRunContent(
        domains=new_domains(2),
        grid=GRID,
        label=raster_labels(np.ones(GRID.shape, "u1")),
        expression=Expression(GENES, GENES, mean, mean, mean),
        number=np.bincount([1, 2], minlength=256),
    )
    about = {"seed": 0, "device": "cpu", "versions": {}, "n_domains": 2, "criterion": ""}
    with ResultFolder.adding(path, "x") as result:
        run = write_run(result, "x", {}, {**about, "scores": [], "doubts": []}, content)
    # What is expressed nowhere is of none.
    assert run.top_domains() == {"A": "Domain 2", "C/c": "Domain 1"}
