"""The front door says what it is given, what it holds, and what is wrong in a sentence."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

import napari_stenhance as st
from test_api import QUICK, RUN


def test_sections_and_slides_say_in_a_line_what_they_are(here: Path) -> None:
    section = st.read("one.h5ad")
    spots, slide = section.need_spots(), section.need_slide()
    scale = f"{section.mpp:.4g} µm per pixel"
    parts = f"slide {slide.path.name!r}, {spots.n_obs} spots × {spots.n_vars} genes, {scale}"
    assert repr(section).startswith(f"<Section {section.name!r}: {parts}")
    height, width = slide.shape
    assert repr(slide) == f"<Slide {str(slide.path)!r}: {width} × {height} px, {scale}>"
    alone = st.Section(spots=spots, mpp=1.0)
    assert "slide" not in repr(alone)


def test_spots_bring_along_what_can_be_stored(here: Path) -> None:
    spots = ad.read_h5ad("one.h5ad")
    mixed = [1, "a", *([None] * (spots.n_obs - 2))]
    spots.obs["mixed"] = mixed
    section = st.read(spots, image="one_he.jpg")
    result = st.Result.open("one.stenhance.zarr")
    table = result.to_anndata(at=section)
    assert table.obs["mixed"].tolist() == mixed
    st.export(result, to="h5ad", at_spots=section, out="table.h5ad")
    written = ad.read_h5ad("table.h5ad").obs["mixed"]
    assert written.dropna().tolist() == ["1", "a"]
    assert written.isna().sum() == spots.n_obs - 2

    spots.uns["model"] = object()
    for verb in (
        lambda: st.domains(spots, n_domains=2, out="d.stenhance.zarr", **QUICK),
        lambda: st.impute(spots, "one.h5ad", out="i.stenhance.zarr", **QUICK),
    ):
        with pytest.raises(st.InputError, match=r"uns/model cannot be stored .* leave it out"):
            verb()
    assert not Path("d.stenhance.zarr").exists()
    assert not Path("i.stenhance.zarr").exists()


@pytest.mark.slow
def test_that_there_is_no_scale_is_said_once(here: Path) -> None:
    spots = ad.read_h5ad("one.h5ad")
    spots.uns.clear()
    said: list[str] = []
    job = st.Job(lambda event: said.append(event.text) if hasattr(event, "text") else None)
    for n, section in enumerate((spots, st.Section(spots=spots.copy()))):
        out = f"{n}.stenhance.zarr"
        found = st.domains(section, n_domains=2, runs=1, out=out, **QUICK, job=job)
        assert sum("scale" in doubt for doubt in found.doubts) == 1
        assert sum("scale" in text for text in said) == 1
        said.clear()


def test_a_result_is_the_same_wherever_python_goes(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(small)
    result, model = st.Result.open("one.stenhance.zarr"), st.Model.load("one.stenhance.zarr")
    said, image = repr(result), result["G1"]
    assert said.startswith("<Result 'one.stenhance.zarr'")
    monkeypatch.chdir(tmp_path)
    assert result["G1"].equals(image)
    assert st.Result.open(result.path)["G1"].equals(image)
    assert str(small / "one.stenhance.zarr") in repr(result)
    assert model.save("kept").is_dir()


def test_a_result_is_copied_and_pickled_as_a_look_at_its_folder(small: Path) -> None:
    result = st.Result.open(small / "one.stenhance.zarr").run(RUN)
    image = result["G1"]
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
        assert other.run_name == RUN
        assert other["G1"].equals(image)


def test_genes_of_a_result_are_listed_and_one_is_taken_by_its_name(small: Path) -> None:
    result = st.Result.open(small / "one.stenhance.zarr")
    assert list(result) == [f"G{n}" for n in range(40)]
    assert result.to_anndata(at=small / "one.h5ad", genes="G1").var_names.tolist() == ["G1"]
    for wrong in (5, None, ["G1"]):
        with pytest.raises(st.InputError, match="name one gene"):
            result[wrong]


def test_to_look_at_what_is_damaged_or_gone_raises_nothing(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small / "one.stenhance.zarr", tmp_path / "r")
    fresh, seen = st.Result.open(tmp_path / "r"), st.Result.open(tmp_path / "r")
    assert "40 genes" in repr(seen)
    (tmp_path / "r" / "fields" / RUN / "zarr.json").write_text("{")
    assert "cannot be read" in repr(st.Result.open(tmp_path / "r"))
    shutil.rmtree(tmp_path / "r")
    for result in (fresh, seen):
        assert str(tmp_path / "r") in repr(result)
        assert str(tmp_path / "r") in result._repr_html_()
    assert "cannot be read" in repr(fresh)


def test_what_is_no_number_job_cache_image_or_path_is_a_sentence(small: Path) -> None:
    section, table = small / "one.h5ad", ad.read_h5ad(small / "one.h5ad")
    for call, said in (
        (lambda: st.enhance(section, epochs=True), "epochs is True, and must be a whole number"),
        (lambda: st.enhance(section, job=5), "job is 5, and must be a Job"),
        (lambda: st.enhance(section, cache="x"), "cache is 'x', and must be a Cache"),
        (lambda: st.read(section, cache="x"), "cache is 'x', and must be a Cache"),
        (lambda: st.read(table, image=np.zeros((9, 9, 3), np.uint8)), "not as ndarray"),
        (lambda: st.Result.open(None), "and not NoneType"),
    ):
        with pytest.raises(st.InputError, match=said):
            call()


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_nothing_starts_from_is_a_sentence(seed: int, tmp_path: Path) -> None:
    for call in (
        lambda: st.enhance("one.h5ad", seed=seed),
        lambda: st.train("one.h5ad", seed=seed),
        lambda: st.domains("one.h5ad", seed=seed),
        lambda: st.impute("one.h5ad", "cells.h5ad", seed=seed),
        lambda: st.downsample("one.h5ad", tmp_path / "d.h5ad", seed=seed),
        lambda: st.phantom(tmp_path / "p", seed=seed),
        lambda: st.demo(tmp_path / "d", seed=seed),
    ):
        with pytest.raises(st.InputError, match=f"The seed is {seed}"):
            call()


def test_a_pitch_without_end_begins_no_result(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.stenhance.zarr"
    for pitch in (float("inf"), float("nan"), 1e9, 0.0):
        with pytest.raises(st.InputError, match="above 0 and at most 10000"):
            st.enhance(small / "one.h5ad", out=out, method="histosge", pitch=pitch, **QUICK)
    assert not out.exists()


def test_a_name_that_is_too_long_is_a_sentence(small: Path, tmp_path: Path) -> None:
    out = tmp_path / ("x" * 300)
    for call in (st.enhance, st.downsample):
        with pytest.raises(st.InputError, match="cannot be written"):
            call(small / "one.h5ad", out=out)
    assert list(tmp_path.iterdir()) == []
