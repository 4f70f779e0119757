"""Several samples in one table are never merged: one is named, at every door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

import napari_stenhance as st
from made_sections import write_image
from napari_stenhance.cli import app
from napari_stenhance.errors import InputError
from napari_stenhance.section.samples import choose_sample
from napari_stenhance.section.section import open_section
from napari_stenhance.section.several import SeveralSamples
from napari_stenhance.section.source import SectionSource
from napari_stenhance.storage.cache import Cache

PITCH = 40.0


def lattice(side: int = 6, at: tuple[float, float] = (0, 0)) -> np.ndarray:
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(side), np.arange(side)))
    return np.column_stack([x, y]) * PITCH + 20 + at


def table(xy: np.ndarray, **obs: Any) -> ad.AnnData:
    """Make spots whose count of gene n is the spot's number, times n."""
    number = np.arange(1, len(xy) + 1)
    return ad.AnnData(
        sp.csr_matrix(np.outer(number, [1, 2]).astype("f4")),
        obs=pd.DataFrame(obs, index=[f"s{n}" for n in number]),
        var=pd.DataFrame(index=["A", "B"]),
        obsm={"spatial": xy},
        uns={"microns_per_pixel": 2.0},
    )


def two(at: tuple[float, float], **obs: Any) -> ad.AnnData:
    xy = np.concatenate([lattice(), lattice(at=at)])
    return table(xy, **{name: np.repeat(values, len(xy) // 2) for name, values in obs.items()})


@pytest.mark.parametrize("column", ["library_id", "sample", "Sample ID", "batch", "orig.ident"])
@pytest.mark.parametrize("at", [(7, 3), (0, 0)], ids=["beside", "upon"])
def test_overlapping_samples_are_told_apart_by_their_column(
    column: str, at: tuple[float, float]
) -> None:
    spots = two(at, **{column: ["A", "B"], "patient": ["P", "P"]})
    with pytest.raises(SeveralSamples, match=r"each in pixels of a slide of its own: A, B") as said:
        open_section(spots)
    assert f'obs["{column}"]' in str(said.value)
    assert (said.value.option, said.value.samples) == ("sample", ("A", "B"))
    for number, name in enumerate("AB"):
        one = open_section(spots, sample=name)
        taken = one.need_spots()
        assert one.name == f"spots-{name}"
        np.testing.assert_array_equal(taken.obsm["spatial"], lattice(at=at if number else (0, 0)))
        assert taken.X[0, 1] == 2 + 72 * number
        assert one.geometry().pitch_um == 80
    with pytest.raises(SeveralSamples, match=r"no sample 'C' .*there are A, B: name one"):
        open_section(spots, sample="C")
    assert spots.n_obs == 72
    numbered = two(at, batch=[0.0, 1.0])
    with pytest.raises(SeveralSamples, match=r"0\.0, 1\.0;"):
        open_section(numbered)


def test_parts_of_one_slide_are_one_section() -> None:
    beside = two((6 * PITCH, 0), sample=["A", "B"])
    whole = open_section(beside)
    assert whole.need_spots().n_obs == 72
    assert any(d.startswith('obs["sample"] names several samples, A, B: as') for d in whole.doubts)
    # One of them may be asked for all the same.
    part = open_section(beside, sample="B")
    assert part.need_spots().n_obs == 36
    assert not any("several samples" in d for d in part.doubts)
    # Classes that mix on one lattice are no samples.
    mixed = table(lattice(12), region=np.arange(144) % 3)
    assert open_section(mixed).need_spots().n_obs == 144
    cells = np.random.default_rng(0).uniform(0, 900, (400, 2))
    halves = table(cells, batch=np.where(cells[:, 0] < 450, "left", "right"))
    assert open_section(halves).need_spots().n_obs == 400
    # Cells of two slides do mix.
    halves.obs["batch"] = np.where(np.arange(400) < 200, "one", "other")
    with pytest.raises(SeveralSamples, match=r"one, other"):
        open_section(halves)


def test_libraries_beside_each_other_are_asked_for() -> None:
    """Each is of an area of its own, though neither an array nor `uns` says so."""
    beside = two((3000, 0), library_id=["A", "B"])
    with pytest.raises(SeveralSamples, match=r'obs\["library_id"\] names .*: A, B; name') as said:
        open_section(beside)
    assert (said.value.option, said.value.samples) == ("sample", ("A", "B"))
    one = open_section(beside, sample="B").need_spots()
    np.testing.assert_array_equal(one.obsm["spatial"], lattice(at=(3000, 0)))
    beside.obs["library_id"] = "A"
    assert open_section(beside).need_spots().n_obs == 72


def test_the_finest_column_tells_them_apart_and_others_do_not_matter() -> None:
    xy = np.concatenate([lattice(at=at) for at in ((0, 0), (7, 3), (13, 9), (0, 17))])
    obs = {"patient": np.repeat(["P", "P", "Q", "Q"], 36), "sample": np.repeat(list("abcd"), 36)}
    with pytest.raises(SeveralSamples, match=r'obs\["sample"\], .*: a, b, c, d'):
        open_section(table(xy, **obs))
    assert open_section(table(xy, **obs), sample="c").need_spots().n_obs == 36


def test_each_sample_has_the_scale_and_picture_of_its_library(cache: Cache) -> None:
    def library(value: int, factor: float) -> dict[str, Any]:
        return {
            "images": {"hires": np.full((60, 50, 3), value, np.uint8)},
            "scalefactors": {"tissue_hires_scalef": 0.2, "microns_per_pixel": factor},
        }

    # Far apart, and yet of two libraries, in a column that is called in no known way.
    spots = two((5000, 0), where=["one", "other"])
    del spots.uns["microns_per_pixel"]
    spots.uns["spatial"] = {"one": library(10, 0.5), "other": library(20, 0.8)}
    with pytest.raises(SeveralSamples, match=r'obs\["where"\]'):
        open_section(spots)
    one = open_section(spots, sample="one", cache=cache)
    assert one.mpp == 0.5 / 0.2
    assert (one.need_slide().pixels[0][:, :] == 10).all()
    # Its spots do not lie on its picture, which is no slide of theirs.
    other = open_section(spots, sample="other", cache=cache)
    assert (other.slide, other.mpp) == (None, 0.8)
    assert other.picture is not None
    assert (other.picture.read() == 20).all()
    # A part of a table keeps all the libraries; the column says which is its own.
    part = spots[spots.obs["where"] == "other"].copy()
    assert open_section(part).mpp == 0.8
    assert open_section(part, sample="other").mpp == 0.8
    del part.obs["where"]
    nothing = open_section(part)
    assert nothing.mpp is None
    assert any("several libraries (one, other)" in doubt for doubt in nothing.doubts)


def test_arrays_that_nothing_tells_apart_are_refused() -> None:
    row, column = (axis.ravel() for axis in np.mgrid[:6, :6])
    numbers = {"array_row": np.tile(row, 2), "array_col": np.tile(2 * column + row % 2, 2)}
    spots = table(np.concatenate([lattice(), lattice(at=(5000, 0))]), **numbers)
    with pytest.raises(InputError, match=r"number 36 places twice or more.*no column of obs"):
        open_section(spots)
    spots.obs["slide"] = [1] * 36 + [2] * 36
    with pytest.raises(SeveralSamples, match=r'obs\["slide"\], .*: 1, 2;'):
        open_section(spots)
    assert open_section(spots, sample="2").need_spots().obsm["spatial"].min() == 20
    # Cells of one spot have its number and its place.
    twice = table(np.tile(lattice(), (2, 1)), **numbers)
    assert choose_sample(twice.obs, {}, np.tile(lattice(), (2, 1)), "here") is None


def test_a_column_of_any_name_or_the_ids_tell_samples_apart_that_cannot_be_one() -> None:
    row, column = (axis.ravel() for axis in np.mgrid[:6, :6])
    numbers = {"array_row": np.tile(row, 2), "array_col": np.tile(2 * column + row % 2, 2)}
    # Lattices that cross say so by themselves, and numbers that are there twice.
    for at, more in (((7, 3), {}), ((5000, 0), numbers)):
        spots = two(at, mouse=["M1", "M2"])
        spots.obs = spots.obs.assign(cluster=np.arange(72) % 5, **more)
        with pytest.raises(SeveralSamples, match=r'obs\["mouse"\], .*: M1, M2;'):
            open_section(spots)
        one = open_section(spots, sample="M2")
        np.testing.assert_array_equal(one.need_spots().obsm["spatial"], lattice(at=at))
        del spots.obs["mouse"]
        spots.obs_names = [f"AAAC{n % 36}-{1 + n // 36}" for n in range(72)]
        with pytest.raises(SeveralSamples, match=r"by the ends of their ids, .*: 1, 2;"):
            open_section(spots)
        assert open_section(spots, sample="2").need_spots().X[0, 0] == 37
    # Clusters of spots of one lattice, of cells, and spots at one place are no samples.
    random = np.random.default_rng(0)
    for xy in (lattice(12), random.uniform(0, 900, (144, 2)), np.tile(lattice(), (4, 1))):
        kinds = table(xy, cluster=random.integers(0, 3, 144), fine=random.integers(0, 20, 144))
        assert open_section(kinds).need_spots().n_obs == 144


def test_a_sample_is_named_at_every_door(tmp_path: Path, cache: Cache) -> None:
    two((7, 3), sample=["A/1", "B"]).write_h5ad(tmp_path / "both.h5ad")
    for name, value in (("both_he", 200), ("both_B", 150)):
        write_image(tmp_path / f"{name}.png", np.full((260, 270, 3), value, np.uint8))
    said = CliRunner().invoke(app, ["info", str(tmp_path / "both.h5ad")])
    assert said.exit_code == 2
    assert "A/1, B; name the sample to open (--sample)." in said.output.replace("\n", " ")
    section = st.read(tmp_path / "both.h5ad", sample="B", cache=cache)
    assert (section.name, section.need_spots().n_obs) == ("both-B", 36)
    assert section.need_slide().path.name == "both_B.png"
    assert section.source is not None
    again = SectionSource.from_json(section.source.to_json())
    assert open_section(**again.arguments(), cache=cache).name == "both-B"
    assert st.read(ad.read_h5ad(tmp_path / "both.h5ad"), sample="A/1").name == "spots-A_1"
    with pytest.raises(InputError, match=r"one section alone; name no sample") as alone:
        st.read(tmp_path / "both_he.png", sample="B", cache=cache)
    assert alone.value.option == "sample"
    with pytest.raises(InputError, match=r"one sample alone, and not called 'B'"):
        st.read(table(lattice()), sample="B")
