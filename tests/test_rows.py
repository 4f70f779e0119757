"""Every table that is written has every observation of the input, in its order."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from bands import banded, find, write_field
from napari_stenhance.methods.sinca.raster import SpotRaster
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.results.imputed import imputed_run
from napari_stenhance.results.label_map import nearest_positions, reach_um
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.tables import open_table
from napari_stenhance.scoring.splits import random_part
from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.section.spots import nearest_distance
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.tiles import Tile
from napari_stenhance.tasks.edit_domains import EditDomainsOptions, edit_domains
from napari_stenhance.tasks.evaluate import evaluate
from napari_stenhance.tasks.evaluate_options import EvaluateOptions
from napari_stenhance.tasks.export import ExportOptions, export
from test_cells import make_cells
from test_cells import make_spots as make_quarters
from test_cli import run

MOVED = 30


def with_twins(spots: ad.AnnData, seed: int = 0) -> ad.AnnData:
    """Put every sixth spot where the one before it is, empty a few, and shuffle all."""
    spots = spots.copy()
    xy = np.array(spots.obsm["spatial"])
    twins = np.arange(5, spots.n_obs, 6)[:MOVED]
    xy[twins] = xy[twins - 1]
    spots.obsm["spatial"] = xy
    for name in set(spots.obs.columns) & {"array_x", "array_y"}:
        numbers = spots.obs[name].to_numpy(copy=True)
        numbers[twins] = numbers[twins - 1]
        spots.obs[name] = numbers
    counts = spots.X.toarray()
    counts[[2, 9]] = 0
    spots.X = sp.csr_matrix(counts)
    return spots[np.random.default_rng(seed).permutation(spots.n_obs)].copy()


def summed(spots: ad.AnnData) -> ad.AnnData:
    """Return the places of such spots with the sums of their counts, made independently."""
    xy = pd.DataFrame(np.asarray(spots.obsm["spatial"]), index=spots.obs_names, columns=["x", "y"])
    first = ~xy.duplicated().to_numpy()
    kept = spots[first].copy()
    number = {tuple(at): n for n, at in enumerate(xy[first].to_numpy())}
    total = np.zeros(kept.shape, np.float32)
    for row, at in zip(spots.X.toarray(), xy.to_numpy(), strict=True):
        total[number[tuple(at)]] += row
    kept.X = sp.csr_matrix(total)
    return kept


def same_place(spots: ad.AnnData) -> list[np.ndarray]:
    """Return the rows of each place that several observations have."""
    xy = pd.DataFrame(np.asarray(spots.obsm["spatial"]), columns=["x", "y"])
    groups = (rows.index.to_numpy() for _, rows in xy.groupby(["x", "y"]))
    return [rows for rows in groups if len(rows) > 1]


@pytest.fixture(scope="module")
def twins(small_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic section with twins, empty spots, one on the glass and one off the slide."""
    folder = tmp_path_factory.mktemp("twins")
    spots = with_twins(ad.read_h5ad(small_files[0]))
    xy = np.array(spots.obsm["spatial"])
    xy[3], xy[11] = (20, 20), (-40, 600)
    spots.obsm["spatial"] = xy
    spots.obs = spots.obs.drop(columns=["array_x", "array_y"])
    spots.write_h5ad(folder / "twins.h5ad")
    shutil.copy(small_files[0].parent / "one_he.jpg", folder / "twins_he.jpg")
    return folder / "twins.h5ad"


def test_a_section_keeps_observations_that_share_a_position() -> None:
    xy = np.array([[9.0, 0], [0, 9], [9, 0], [0, 0], [9, 0], [0, 9.001]])
    counts = np.array([[1, 0, 2], [0, 5, 0], [10, 0, 0], [7, 7, 7], [100, 1, 0], [0, 0, 3]])
    for matrix in (counts.astype(np.uint8), sp.csr_matrix(counts.astype(np.float32))):
        spots = ad.AnnData(X=matrix, obsm={"spatial": xy}, layers={"scaled": matrix / 2})
        spots.obs_names = list("abcdef")
        section = Section(spots=spots, mpp=1.0)
        kept = section.need_spots()
        assert list(kept.obs_names) == list("abcdef")
        values = kept.X.toarray() if sp.issparse(kept.X) else kept.X
        np.testing.assert_array_equal(values, counts)
        # Since 0.13 anndata lists X among them, as None.
        assert [name for name in kept.layers if name is not None] == ["scaled"]
        assert any(d.startswith("2 of 6 spots lie at the very") for d in section.doubts)
        # A section of a section says it once.
        again = Section(spots=kept, mpp=1.0, doubts=section.doubts)
        assert again.doubts == section.doubts
    # The distance to a twin is no pitch: between places it is 9, 9, 9 and 0.001, 0.001.
    assert nearest_distance(np.repeat(np.array([[0.0, 0], [3, 0], [3, 4]]), 5, axis=0)) == 3
    assert nearest_distance(np.zeros((4, 2))) == 0


def test_places_keep_their_order_and_sum() -> None:
    xy = np.array([[5.0, 5], [1, 1], [5, 5], [0, 7], [1, 1], [5, 5]])
    places = DistinctPositions.among(xy)
    assert list(places.first) == [0, 1, 3]
    assert list(places.of) == [0, 1, 0, 2, 1, 0]
    counts = sp.csr_array(np.arange(12, dtype=np.float32).reshape(6, 2))
    np.testing.assert_array_equal(places.summed(counts).toarray(), [[14, 17], [10, 12], [6, 7]])
    np.testing.assert_array_equal(places.totals(np.arange(6)), [7, 5, 3])


def test_domains_have_every_observation(tmp_path: Path) -> None:
    spots = with_twins(banded())
    spots.write_h5ad(tmp_path / "s.h5ad")
    out = tmp_path / "s.stenhance.zarr"
    (domains,) = find(tmp_path / "s.h5ad", out=out, n_domains=4)
    table = domains.spots()
    assert table is not None
    assert list(table.obs_names) == list(spots.obs_names)
    np.testing.assert_array_equal(table.X.toarray(), spots.X.toarray())
    np.testing.assert_array_equal(table.obs["note"], spots.obs["note"])
    assert domains.summary()["spots"].sum() == spots.n_obs
    sizes = table.obs["domain"].value_counts().loc[table.obs["domain"].cat.categories]
    assert sizes.is_monotonic_decreasing
    # Who shares a position shares its domain, and how sure it is.
    shared = same_place(spots)
    assert len(shared) == MOVED
    for rows in shared:
        assert table.obs["domain"].iloc[rows].nunique() == 1
        assert table.obs["domain_confidence"].iloc[rows].nunique() == 1
        assert np.ptp(table.obsm["X_stamgc"][rows], axis=0).max() == 0
    # Learned as if each place had been counted once.
    (alone,) = find(Section(spots=summed(spots)), out=tmp_path / "alone.zarr", n_domains=4)
    places = alone.spots()
    assert places is not None
    one = table[places.obs_names]
    assert pd.crosstab(one.obs["domain"].values, places.obs["domain"].values).gt(0).sum().max() == 1
    np.testing.assert_array_equal(one.obsm["X_stamgc"], places.obsm["X_stamgc"])
    # What is edited has them too.
    edited = edit_domains(EditDomainsOptions(out, merge="3=1")).spots()
    assert edited is not None
    assert list(edited.obs_names) == list(spots.obs_names)


def test_imputed_tables_have_every_observation(tmp_path: Path) -> None:
    spots = with_twins(make_quarters())
    spots.write_h5ad(tmp_path / "s.h5ad")
    make_cells().write_h5ad(tmp_path / "c.h5ad")
    out = tmp_path / "s.stenhance.zarr"
    run("impute", tmp_path / "s.h5ad", tmp_path / "c.h5ad", "--out", out, "--epochs", 2,
        "--device", "cpu", "--write", "X1")  # fmt: skip
    imputed = imputed_run(ResultFolder.open(out))
    table = imputed.table()
    assert list(table.obs_names) == list(spots.obs_names)
    np.testing.assert_array_equal(table[:, spots.var_names].X.toarray(), spots.X.toarray())
    assert np.isfinite(table.X.toarray()).all()
    export(ExportOptions(out, tmp_path / "x.h5ad"))
    assert list(ad.read_h5ad(tmp_path / "x.h5ad").obs_names) == list(spots.obs_names)


def test_exports_at_spots_have_every_observation(
    twins: Path, small_files: list[Path], tmp_path: Path, session_cache: Cache
) -> None:
    slide = open_section(small_files[0], spots=False, cache=session_cache)
    out = tmp_path / "one.stenhance.zarr"
    write_field(out, slide, session_cache)
    given = ad.read_h5ad(twins)
    export(ExportOptions(out, tmp_path / "x.h5ad", at_spots=twins))
    table = ad.read_h5ad(tmp_path / "x.h5ad")
    assert list(table.obs_names) == list(given.obs_names)
    np.testing.assert_allclose(table.obsm["spatial"], given.obsm["spatial"])
    assert np.isfinite(table.X).all()
    assert (table.obs["superpixels"].iloc[[3, 11]] == 0).all()
    # Without a scale of their own, spots have the slide's, and so has their size.
    bare = ad.AnnData(X=given.X, obs=given.obs[[]], obsm={"spatial": given.obsm["spatial"]})
    bare.var_names = given.var_names
    bare.uns["spatial"] = {"a": {"scalefactors": {"spot_diameter_fullres": 55 / 0.8}}}
    bare.write_h5ad(tmp_path / "bare.h5ad")
    export(ExportOptions(out, tmp_path / "y.h5ad", at_spots=tmp_path / "bare.h5ad"))
    again = ad.read_h5ad(tmp_path / "y.h5ad")
    np.testing.assert_array_equal(again.obs["superpixels"], table.obs["superpixels"])
    np.testing.assert_allclose(again.X, table.X, rtol=1e-5)
    assert again.uns["stenhance"]["unit"] == "micrometer"
    assert again.uns["stenhance"]["spot_diameter_um"] == pytest.approx(55)


def test_a_lattice_has_every_observation(
    small_files: list[Path], tmp_path: Path, session_cache: Cache
) -> None:
    spots = with_twins(ad.read_h5ad(small_files[0]))
    xy = np.array(spots.obsm["spatial"])
    # One lies on the glass, as far off its place as printed spots may.
    alone = np.setdiff1d(np.arange(spots.n_obs), np.concatenate(same_place(spots)))
    off = alone[[xy[alone, 0].argmin()]]
    xy[off, 0] -= 180
    spots.obsm["spatial"] = xy
    spots.write_h5ad(tmp_path / "twins.h5ad")
    shutil.copy(small_files[0].parent / "one_he.jpg", tmp_path / "twins_he.jpg")
    out = tmp_path / "t.stenhance.zarr"
    run("enhance", tmp_path / "twins.h5ad", "--method", "histosge", "--lattice", 2, "--out", out,
        "--genes", "G1,G2", "--epochs", 1, "--device", "cpu", "--pitch", 75)  # fmt: skip
    table = open_table(ResultFolder.open(out), "histosge-stain-robust-lattice2")
    measured = table[: spots.n_obs]
    assert list(measured.obs_names) == list(spots.obs_names)
    assert list(measured.obs["nearest_spot"].astype(str)) == list(spots.obs_names)
    assert measured.obs["is_measured"].all()
    assert not table.obs["is_measured"][spots.n_obs :].any()
    np.testing.assert_array_equal(measured.obsm["spatial"], xy)
    assert np.isnan(measured.X[off]).all()
    assert np.isfinite(measured.X).all(axis=1).mean() > 0.7
    for rows in same_place(spots):
        np.testing.assert_array_equal(measured.X[rows[0]], measured.X[rows[1]])


def test_thinned_and_converted_tables_have_every_observation(twins: Path, tmp_path: Path) -> None:
    given = ad.read_h5ad(twins)
    run("downsample", twins, "--out", tmp_path / "thin.h5ad", "--mean", 0.01, "--sd", 0.005)
    thinned = ad.read_h5ad(tmp_path / "thin.h5ad")
    assert list(thinned.obs_names) == list(given.obs_names)
    np.testing.assert_array_equal(thinned.obsm["spatial"], given.obsm["spatial"])
    assert (np.asarray(thinned.X.sum(axis=1)).ravel() == 0).sum() >= 2
    run("convert", twins, "--out", tmp_path / "prefix")
    for name in ("cnts.tsv", "locs-raw.tsv"):
        written = pd.read_csv(tmp_path / "prefix" / name, sep="\t", index_col=0)
        assert list(written.index) == list(given.obs_names)
    assert open_section(tmp_path / "prefix").need_spots().n_obs == given.n_obs


def test_methods_learn_from_places(twins: Path, session_cache: Cache) -> None:
    section = open_section(twins, cache=session_cache)
    places = Section(
        slide=section.slide, spots=summed(section.need_spots()), mpp=section.mpp, name="places"
    )
    grid = Grid.over(section.need_slide(), 8.0)
    tissue = np.ones(grid.shape, bool)

    def sample(section: Section, library: Any = None) -> TrainingSection[Any]:
        section = Section(section.slide, section.spots, mpp=section.mpp, library=library)
        under = Footprints.under(grid, section.spots_um(), section.geometry(), tissue)
        return TrainingSection.from_section(section, None, under, 0.1)  # type: ignore[type-var]

    one, other = sample(section), sample(places)
    np.testing.assert_array_equal(one.counts.toarray(), other.counts.toarray())
    np.testing.assert_array_equal(one.xy_um, other.xy_um)
    assert one.footprints.n_spots == other.footprints.n_spots == len(one.xy_um)
    for part in ("spot", "row", "column"):
        np.testing.assert_array_equal(
            getattr(one.footprints, part), getattr(other.footprints, part)
        )
    # Where X holds expected counts, what was measured is summed too.
    library = 1000.0 + np.arange(section.need_spots().n_obs)
    imputed, xy = sample(section, library), section.spots_um()
    assert imputed.measured is not None
    for total, at in zip(imputed.measured, imputed.xy_um, strict=True):
        assert total == library[(xy == at).all(axis=1)].sum()


def test_twins_are_hidden_together(section_files: list[Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    once = ad.read_h5ad(section_files[0])
    once.X = sp.csr_matrix(rng.poisson(rng.gamma(1, 8, (once.n_obs, 40))).astype(np.float32))
    twice = ad.concat([once, once], index_unique="-", uns_merge="same")
    Path(tmp_path / "d").mkdir()
    twice.write_h5ad(tmp_path / "d" / "twice.h5ad")
    shutil.copy(section_files[0].parent / "one_he.jpg", tmp_path / "d" / "twice_he.jpg")
    scores = evaluate(
        EvaluateOptions(
            (tmp_path / "d" / "twice.h5ad",),
            method="histosge",
            genes="G1,G2,G3,G4",
            epochs=1,
            device="cpu",
        )
    )
    nearest = next(score for score in scores if score.what == "nearest spot")
    # Counts are noise: only a twin that was seen could tell them.
    assert abs(nearest.values["r"]) < 0.3
    # Without twins the published draw is as it was.
    assert random_part(10, 0.5, 0).sum() == 5


def test_rasters_and_label_images_see_places() -> None:
    side = 12
    xy = np.column_stack([a.ravel() for a in np.mgrid[:side, :side]]).astype(float) * 100
    twice = np.concatenate([xy, xy])
    cpu = torch.device("cpu")
    assert (
        SpotRaster.from_positions(twice, cpu).shape
        == SpotRaster.from_positions(xy, cpu).shape
        == (side, side)
    )
    many = np.repeat(xy, 6, axis=0)
    assert reach_um(many) == reach_um(xy) == 75
    grid = Grid.around(xy, 12.5, 75, 1.0)
    index = nearest_positions(many, grid, 75)(Tile((0, 0), slice(0, 40), slice(0, 40)))
    assert set(np.unique(index)) <= {-1, *range(0, len(many), 6)}
    np.testing.assert_array_equal(
        index // 6, nearest_positions(xy, grid, 75)(Tile((0, 0), slice(0, 40), slice(0, 40)))
    )


def test_domains_of_all_observations_at_few_places_are_refused(tmp_path: Path) -> None:
    spots = banded()
    spots.obsm["spatial"] = np.array(spots.obsm["spatial"])[np.arange(spots.n_obs) % 3]
    spots.write_h5ad(tmp_path / "s.h5ad")
    ran = run("domains", tmp_path / "s.h5ad", "--out", tmp_path / "o", "--n-domains", 4, code=2)
    assert "3 positions are too few" in ran.stderr
