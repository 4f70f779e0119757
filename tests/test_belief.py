"""Intervals and cuts: what they promise holds on data they were not made of."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from numpy.typing import NDArray

import napari_stenhance as st
from believed_result import believed_decoder, keep_spots, make_believed
from napari_stenhance.api.result import Result
from napari_stenhance.errors import InputError
from napari_stenhance.methods.calibration import (
    coverage_of,
    held_out_values,
    why_no_intervals,
    with_held_out,
)
from napari_stenhance.methods.held_out import HeldOutSpots
from napari_stenhance.methods.registry import load_fitted
from napari_stenhance.methods.shallow import SAID
from napari_stenhance.results.belief import disc_means
from napari_stenhance.results.gene_source import judge
from napari_stenhance.results.predictions import at_superpixels
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.discoveries import averaged, find_cut
from napari_stenhance.scoring.intervals import SpotIntervals, is_inside
from napari_stenhance.scoring.splits import block_folds
from napari_stenhance.tasks.believed import believed
from tiny_result import IMPUTED, make_decoder, make_model

_NONE = "has no prediction intervals, and no marks: no held-out spots are kept with it"


class _Noted(Job):
    """A job that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


def _counted(spots: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make predictions, and counts of a gene that is often not counted, as log1p."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.5, 4.0, spots)
    measured = np.log1p(rng.poisson(rate * rng.gamma(5, 1 / 5, spots)) * 3.0)
    return np.log1p(rate * 3.0)[:, None].astype("f4"), measured[:, None].astype("f4")


def test_intervals_cover_nine_in_ten_also_of_like_predictions() -> None:
    intervals = SpotIntervals.from_held_out(*_counted(2000, 1))
    predicted, measured = _counted(20_000, 2)
    low, high = intervals.of(predicted)
    inside = (low <= measured) & (measured <= high)
    assert (low >= 0).all()
    # Zeros weigh as a whole, so more than 0.9 are covered where most are zero.
    assert 0.87 < inside.mean() < 0.96
    quartile = np.searchsorted(np.quantile(predicted, [0.25, 0.5, 0.75]), predicted)
    assert [inside[quartile == n].mean() > 0.87 for n in range(4)] == [True] * 4
    assert (high - low)[quartile == 0].mean() < (high - low)[quartile == 3].mean()


def test_too_few_spots_have_no_end() -> None:
    low, high = SpotIntervals.from_held_out(*_counted(18, 1)).of(np.ones((3, 1), "f4"))
    assert (low == 0).all()
    assert np.isinf(high).all()


def test_what_is_not_predicted_has_no_interval() -> None:
    low, high = SpotIntervals.from_held_out(*_counted(100, 1)).of(np.full((2, 1), np.nan, "f4"))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_a_cut_marks_few_wrong_places_of_new_data() -> None:
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        known, new = rng.normal(size=(2, 400, 2))
        cut = find_cut(known[:, 0] + known[:, 1], known[:, 0], 0.0)
        marked = new.sum(axis=1) >= cut.at
        shares.append((marked & (new[:, 0] <= 0)).sum() / max(marked.sum(), 1))
    assert np.mean(shares) < 0.1
    # More often than promised a cut would be none at all.
    assert np.mean(np.array(shares) > 0.1) < 0.3


def test_a_prediction_that_says_nothing_has_no_cut() -> None:
    rng = np.random.default_rng(0)
    cut = find_cut(rng.random(500), rng.random(500), 0.5)
    assert not cut.found
    assert cut.marked == 0


def test_equal_predictions_are_marked_together() -> None:
    measured = np.r_[np.ones(50), np.zeros(50)]
    assert not find_cut(np.ones(100), measured, 0.5).found
    assert find_cut(np.ones(100), np.ones(100), 0.5).marked == 100


@pytest.mark.parametrize("scale", ["8 spots", "region"])
def test_spots_of_another_section_are_not_near(scale: str) -> None:
    xy = np.tile(np.stack(np.meshgrid(np.arange(3), np.arange(3)), -1).reshape(-1, 2) * 1.0, (2, 1))
    section = np.repeat([0, 1], 9)
    values = section.astype("f4")[:, None]
    np.testing.assert_array_equal(averaged(values, xy, section, scale), values)


def test_a_result_says_where_a_spot_would_be_measured(tmp_path: Path) -> None:
    result = Result.open(make_believed(tmp_path, held_out=True))
    first = result.genes[0]
    ends = result.interval(first)
    assert ends.dims == ("end", "y", "x")
    low, high = ends.sel(end="low"), ends.sel(end="high")
    assert (low < high).all()
    shown = result.above(first, 0.5)
    assert shown.attrs["wrong"] / shown.attrs["marked"] < 0.1
    assert set(np.unique(shown)) <= {0.0, 1.0}
    assert shown.mean() > 0.5
    # Of a gene that is nowhere counted nothing is above.
    nothing = result.above(result.genes[2], 0.5, "region")
    assert not nothing.any()
    assert "nothing is marked" in nothing.attrs["said"]
    # 400 spots at 200 µm: about 20 in a region.
    assert "are needed" in nothing.attrs["said"]
    assert "no cut keeps" in result.above(result.genes[2], 0.5).attrs["said"]
    assert np.isinf(nothing.attrs["cut"])
    with pytest.raises(InputError, match="choose one of"):
        result.above(first, 0.5, "slide")  # type: ignore[arg-type]
    for one in (float("nan"), np.inf, True, "2", None):
        with pytest.raises(InputError, match="give a number"):
            result.above(first, one)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Above -1: no gene is below 0"):
        result.above(first, -1)


def test_a_value_is_any_number(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    result = Result.open(make_believed(tmp_path, held_out=True))
    expected = result.above("A", 1.0)
    for value in (1, np.float32(1), np.int64(1), np.array(1.0), result.interval("A").min() * 0 + 1):
        shown = result.above("A", value)
        assert shown.identical(expected)
    # More than single precision holds, in which spots are measured.
    assert "no cut keeps" in result.above("A", 1e308).attrs["said"]
    assert not [one for one in recwarn if one.category is RuntimeWarning]


def test_a_sum_of_genes_has_no_intervals_and_says_so(tmp_path: Path) -> None:
    path = make_believed(tmp_path, held_out=True)
    result = Result.open(path)
    asked = [
        lambda: result.interval("A + C/c"),
        lambda: result.above("A - C/c", 1),
        *(
            lambda o=options: st.export(
                path, tmp_path / "x.tif", to="ome-tiff", genes="A + C/c", **o
            )
            for options in ({"what": "interval"}, {"above": 1.0})
        ),
    ]
    for ask in asked:
        with pytest.raises(InputError, match="of a sum of genes there are no intervals"):
            ask()


def test_an_older_result_says_that_it_has_no_intervals(tmp_path: Path) -> None:
    result = Result.open(make_believed(tmp_path, held_out=False))
    assert result[result.genes[0]].notnull().all()
    with pytest.raises(InputError, match=_NONE):
        result.interval(result.genes[0])
    with pytest.raises(InputError, match=_NONE):
        result.above(result.genes[0], 1.0)


def test_held_out_spots_come_back_as_they_were_kept(tmp_path: Path) -> None:
    kept = keep_spots()
    again = Result.open(make_believed(tmp_path, held_out=True))._of_genes.field.decoder.held_out
    for name, values in kept.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values)
    measured = again.measured(np.array([0, 2]))
    assert measured.shape == (400, 2)
    assert measured[:, 0].max() > 0
    assert not measured[:, 1].any()


def test_a_disc_mean_is_that_of_what_is_known() -> None:
    values = np.full((21, 21), np.nan, "f4")
    values[:, :11] = np.arange(11)
    means = disc_means(values, 3.2)
    assert np.isnan(means[:, 11:]).all()
    y, x = np.mgrid[:21, :21]
    near = (y - 10) ** 2 + (x - 10) ** 2 <= 3.2**2
    np.testing.assert_allclose(means[10, 10], np.nanmean(values[near]), rtol=1e-5)
    np.testing.assert_array_equal(disc_means(values, 0.5), values)


def test_intervals_and_depth_travel_with_a_run(tmp_path: Path) -> None:
    result = Result.open(make_believed(tmp_path, held_out=True))
    run = result._of_genes
    assert "9 in 10 are measured between" in run.trust("A")
    # r given depth is 0.25 and 0.05 of 400 spots; of C/c it is not known.
    assert "cannot be told from depth" not in run.trust("A")
    assert run.trust(result.genes[1]).count("given depth is not above 0 by its error") == 1
    assert "cannot be told from depth: its r given depth is not known" in run.trust("C/c")
    said = "\n".join(run.describe())
    assert re.search(r"they hold 9\d% of 400 held-out spots of the sections learned from", said)
    assert "2 genes of 3 cannot be told from depth" in said
    at = at_superpixels(result.folder, run.name, result.genes, Job())
    assert at.var["told_from_depth"].tolist() == [True, False, False]
    pd.testing.assert_frame_equal(at.var, result.held_out)
    prediction = at.uns["stenhance_prediction"]
    assert prediction["intervals"]["level"] == 0.9
    assert prediction["intervals"]["held_out_spots"] == 400
    assert prediction["intervals"]["coverage"] == pytest.approx(at.var["interval_coverage"].mean())


def test_coverage_is_that_of_blocks_that_calibrated_nothing(tmp_path: Path) -> None:
    kept = keep_spots()
    decoder = with_held_out(believed_decoder(), kept, Job())
    columns = np.arange(3)
    # The same, spot by spot: each is compared with intervals of what lies in no block of its fold.
    predicted, measured = held_out_values(decoder, kept, columns)
    fold = block_folds(kept.xy_um, 1000.0, 5, np.random.default_rng(0))
    inside = []
    for here, of_spot, where in zip(predicted, measured, fold, strict=True):
        others = fold != where
        intervals = SpotIntervals.from_held_out(predicted[others], measured[others])
        inside.append(is_inside(of_spot, intervals.of(here)))
    np.testing.assert_allclose(decoder.coverage, np.mean(inside, axis=0), atol=1e-6)
    assert 0.87 < decoder.coverage[:2].mean() < 0.94
    # It is not that of the spots that made the intervals, which is higher.
    own = is_inside(measured, SpotIntervals.from_held_out(predicted, measured).of(predicted))
    assert own[:, :2].mean() > decoder.coverage[:2].mean()
    # It is kept as it was: with a result, and with a model; where it is not, it is computed.
    result = Result.open(make_believed(tmp_path, held_out=True))
    again = result._of_genes.field.decoder.coverage
    np.testing.assert_array_equal(again, decoder.coverage)
    make_model(decoder).save(tmp_path)
    model = load_fitted(tmp_path, torch.device("cpu")).decoder
    np.testing.assert_array_equal(model.coverage, decoder.coverage)
    older = replace(decoder, coverage=None)
    np.testing.assert_array_equal(coverage_of(older, columns), decoder.coverage)
    assert np.isnan(coverage_of(replace(older, held_out=None), columns)).all()


def test_what_is_learned_keeps_its_coverage(small: Path) -> None:
    decoder = Result.open(small / "one.stenhance.zarr")._of_genes.field.decoder
    assert decoder.coverage is not None
    again = coverage_of(replace(decoder, coverage=None), np.arange(len(decoder.genes)))
    np.testing.assert_array_equal(decoder.coverage, again)
    # An interval without an end holds everything: of so few spots nothing is claimed.
    said = "\n".join(st.info(small / "one.stenhance.zarr"))
    assert np.isnan(decoder.coverage).all()
    assert f"{len(decoder.held_out)} held-out spots, too few to check any" in said


def test_what_cannot_be_told_from_depth_is_not_reliable() -> None:
    given, told = np.array([0.12, 0.12, np.nan]), np.array([True, False, False])
    measured = np.zeros(3, bool)
    assert list(judge(given, measured, 0.1, told)) == ["reliable", "not reliable", "not known"]
    assert list(judge(given, measured, -1, told)) == ["reliable", "reliable", "not known"]


def test_an_older_run_says_that_it_has_no_intervals(tmp_path: Path) -> None:
    result = Result.open(make_believed(tmp_path, held_out=False))
    run = result._of_genes
    assert "9 in 10" not in run.trust("A")
    assert any("No prediction intervals" in line for line in run.describe())
    at = at_superpixels(result.folder, run.name, result.genes, Job())
    assert list(at.var) == ["held_out_r", "held_out_r_given_depth"] == list(result.held_out)
    assert "intervals" not in at.uns["stenhance_prediction"]
    assert "no held-out spots are kept" in at.uns["stenhance_prediction"]["no_intervals"]


@pytest.mark.parametrize(
    ("preset", "folds", "doubts", "said"),
    [
        ("reference", 5, (), "the preset reference keeps no held-out spots"),
        ("blended", 5, (), "the preset blended hides transcripts, and holds no spots out"),
        ("robust", 5, (SAID,), "a single bin counts too few genes"),
        ("robust", 5, (), "no held-out spots are kept with it, as with no run of older versions"),
    ],
)
def test_what_has_no_intervals_says_why(
    preset: str, folds: int, doubts: tuple[str, ...], said: str
) -> None:
    decoder = replace(believed_decoder(), doubts=doubts)
    identity = {"preset": preset, "recipe": {"folds": folds}}
    assert why_no_intervals(decoder, identity).startswith(said)
    assert why_no_intervals(replace(decoder, held_out=keep_spots()), identity) == ""


def test_hidden_spots_are_compared_with_intervals_and_cuts_made_without_them() -> None:
    kept, new = keep_spots(), keep_spots()
    weights = np.array([[0.9, 0, 0], [0, 0.1, 0]], "f4")
    decoder = replace(
        make_decoder(), weights=weights, bias=np.array([1.4, 1.4, 0], "f4"), held_out=kept
    )
    columns = np.arange(3)
    measured = new.measured(columns)
    predicted = decoder.values(new.latents, columns)
    found = believed(decoder, columns, predicted, measured, new.xy_um)
    assert 0.88 < found["coverage"] < 1
    assert found["coverage, genes lowest"] == 1
    assert found["wrong, above median, spot"] < 0.1
    assert found["cut, above median, spot"] >= 1 / 3
    # What is predicted is turned round: now much is wrong, and it is said.
    turned = believed(decoder, columns, predicted[::-1], measured, new.xy_um)
    assert turned["coverage"] < found["coverage"]
    assert turned["wrong if marked, above median, spot"] > 0.3
    assert believed(replace(decoder, held_out=None), columns, predicted, measured, new.xy_um) == {}


def test_means_that_share_spots_do_not_count_as_many() -> None:
    rng = np.random.default_rng(3)
    values = np.sort(rng.random(100))
    assert find_cut(values, values, 0.2).marked >= 75
    # A hundred means of eight spots are twelve places.
    cut = find_cut(values, values, 0.2, 8.0)
    assert not cut.found
    assert cut.apart == 12


def test_a_saved_model_keeps_its_held_out_spots(tmp_path: Path) -> None:
    kept = keep_spots()
    for name, held_out in (("new", kept), ("old", None)):
        (tmp_path / name).mkdir()
        make_model(replace(make_decoder(), held_out=held_out)).save(tmp_path / name)
    again = load_fitted(tmp_path / "new", torch.device("cpu")).decoder.held_out
    assert again is not None
    for name, values in kept.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values)
    assert load_fitted(tmp_path / "old", torch.device("cpu")).decoder.held_out is None


def test_held_out_arrays_that_do_not_fit_are_refused() -> None:
    arrays = dict(keep_spots().arrays)
    arrays["spots"] = arrays["spots"] + len(arrays["depth"])
    with pytest.raises(InputError, match="not fit together"):
        HeldOutSpots(lambda: arrays).measured(np.array([0]))
    del arrays["depth"]
    with pytest.raises(InputError, match="not fit together"):
        len(HeldOutSpots(lambda: arrays))


def test_what_is_believed_leaves_as_images_and_tables(tmp_path: Path) -> None:
    path = make_believed(tmp_path, held_out=True)
    result, job = Result.open(path), _Noted()

    def exported(name: str, **options: Any) -> tuple[NDArray[np.float32], list[str], str]:
        out = st.export(path, tmp_path / f"{name}.ome.tif", to="ome-tiff", job=job, **options)
        with tifffile.TiffFile(out) as tif:
            xml = ElementTree.fromstring(tif.ome_metadata)
            levels = [level.asarray() for level in tif.series[0].levels]
        assert all(coarse.ndim == levels[0].ndim for coarse in levels)
        names = [one.get("Name") for one in xml.iter() if one.tag.endswith("}Channel")]
        (about,) = (one.text for one in xml.iter() if one.tag.endswith("}Description"))
        return np.atleast_3d(levels[0].T).T, names, about

    images, names, about = exported("depth", what="depth")
    assert (names, "total counts of a spot" in about) == (["total counts"], True)
    np.testing.assert_array_equal(images[0], result.depth())
    images, names, about = exported("interval", what="interval", genes=["A"])
    assert (names, "of a spot of 100 µm" in about) == (["A low", "A high"], True)
    np.testing.assert_array_equal(images, result.interval("A"))
    images, names, about = exported("spread", what="spread", genes=["A"])
    assert (names, "is no interval" in about) == (["A sd"], True)
    np.testing.assert_array_equal(images[0], result.spread("A"))
    images, names, about = exported("above", above=0.5, genes=["A", "C/c"])
    assert names == ["A above 0.5", "C/c above 0.5"]
    marks = result.above("A", 0.5)
    np.testing.assert_array_equal(images[0], marks)
    assert not images[1].any()
    # What is promised, or not, is said, and written beside.
    assert [marks.attrs["said"] in about, marks.attrs["said"] in job.said] == [True, True]
    assert [sum("nothing is marked" in line for line in job.said), "nothing" in about] == [1, True]

    table = at_superpixels(result.folder, "run", ["A"], Job())
    shown = result.depth().values[table.obs["row"], table.obs["column"]]
    np.testing.assert_allclose(table.obs["predicted_total_counts"], shown, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": "h5ad", "above": 1.0, "genes": ["A"]}, "holds a table; this is an image"),
        ({"to": "h5ad", "what": "depth"}, "Tables have it in obs"),
        ({"what": "depth", "genes": ["A"]}, "Depth is of no gene"),
        ({"what": "unfamiliar", "genes": ["A"]}, "Unfamiliar is of no gene"),
        ({"what": "unfamiliar"}, "does not say how far tissue lies"),
        ({"above": -1.0, "genes": ["A"]}, "no gene is below 0"),
        ({"what": "interval"}, "needs genes"),
        ({"what": "spread", "above": 1.0, "genes": ["A"]}, "leave one out"),
        ({"scale": "region", "genes": ["A"]}, "no value is named"),
        ({"above": float("inf"), "genes": ["A"]}, "give a number"),
        ({"what": "interval", "genes": ["NOPE"]}, "NOPE: not among the genes"),
    ],
)
def test_what_cannot_leave_is_said(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    path = make_believed(tmp_path, held_out=True)
    kind = {"to": "ome-tiff", **options}
    out = tmp_path / ("x.ome.tif" if kind["to"] == "ome-tiff" else "x.h5ad")
    with pytest.raises(InputError, match=said):
        st.export(path, out, **kind)
    assert not out.exists()


def test_an_imputation_has_neither_depth_nor_intervals(tiny: Path, tmp_path: Path) -> None:
    result = Result.open(tiny).run(IMPUTED)
    assert list(result.held_out) == ["held_out_r", "held_out_r_given_depth"]
    for ask in (result.depth, lambda: result.interval("A"), lambda: result.above("A", 1.0)):
        with pytest.raises(InputError, match="predicts no depth and no intervals; runs of enhance"):
            ask()
    for options in ({"what": "depth"}, {"above": 1.0, "genes": "A"}):
        with pytest.raises(InputError, match="predicts no depth and no intervals"):
            st.export(result, tmp_path / "x.ome.tif", to="ome-tiff", **options)
    assert "No prediction intervals: of imputed genes" in "\n".join(st.info(tiny))


def test_a_run_without_held_out_spots_exports_no_marks(tmp_path: Path) -> None:
    path, out = make_believed(tmp_path, held_out=False), tmp_path / "x.ome.tif"
    for options in ({"above": 1.0}, {"what": "interval"}):
        with pytest.raises(InputError, match=_NONE):
            st.export(path, out, to="ome-tiff", genes="A", **options)
