"""Another image of a slide's file than its slide: listed, chosen, recorded, and opened again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import napari_stenhance as st
import slide_files as made
from made_sections import make_slide_pixels, make_spots
from napari_stenhance.cli import app
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.inference import open_for
from napari_stenhance.tasks.options import SlideOptions

SIZES = {"PhysicalSizeX": 0.8, "PhysicalSizeY": 0.8}
GLASS = (900, 1000)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts beside an OME-TIFF of a large scan, a label, and the scan that they were made of."""
    folder = tmp_path_factory.mktemp("series")
    pixels, amounts = make_slide_pixels((800, 670), 0)
    spots = make_spots(amounts, 0)
    spots.uns.pop("microns_per_pixel", None)
    spots.write_h5ad(folder / "s.h5ad")
    made.ome(
        folder / "s.ome.tif",
        ("label", [made.plain((300, 200))], {}),
        ("glass", [made.plain(GLASS, 240)], {"PhysicalSizeX": 9.0, "PhysicalSizeY": 9.0}),
        ("tissue", [pixels, pixels[::2, ::2]], SIZES),
    )
    return folder / "s.h5ad"


def test_spots_are_placed_on_the_image_that_was_chosen(counts: Path, cache: Cache) -> None:
    section = open_section(counts, series="tissue", cache=cache)
    slide = section.need_slide()
    assert (slide.shape, slide.series, section.mpp) == ((800, 670), "tissue", pytest.approx(0.8))
    assert [(other.name, other.is_slide) for other in slide.others] == [
        ("glass", True),
        ("label", False),
    ]
    assert open_section(counts, cache=cache).need_slide().shape == GLASS
    assert st.read(counts, series="tissue", cache=cache).need_slide().same_as(slide)
    for chosen in ("tisue", "slide"):
        said = rf"no image '{chosen}'; it holds glass \(1000 × 900 px, the slide\), label"
        with pytest.raises(InputError, match=said):
            open_section(counts, series=chosen, cache=cache)
    # Most spots lie outside the label.
    with pytest.raises(InputError, match="no image 'label' that the spots fit lies there"):
        open_section(counts, series="label", cache=cache)


def test_a_choice_without_an_image_is_refused(section_files: list[Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone.h5ad"
    alone.write_bytes(section_files[0].read_bytes())
    with pytest.raises(InputError, match="no image 'label' that the spots fit lies there"):
        open_section(alone, series="label")
    with pytest.raises(InputError, match="its slide is the only one"):
        open_section(section_files[0], series="label")


def test_info_lists_what_a_file_holds(counts: Path) -> None:
    def info(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["info", str(counts.with_name("s.ome.tif")), *arguments])
        assert done.exit_code == code, done.output
        return " ".join((done.stdout or done.stderr).split())

    said = info()
    assert "1000 × 900 px, 2 levels, 9 µm per pixel (OME's PhysicalSizeX)" in said
    listed = "Images of the file: glass (1000 × 900 px, the slide), label (200 × 300 px), tissue"
    assert f"{listed} (670 × 800 px)" in said
    assert info("--series", "glass") == said
    said = info("--series", "tissue")
    assert "Slide: 'tissue' of s.ome.tif, 670 × 800 px, 2 levels" in said
    listed = "tissue (670 × 800 px, chosen), glass (1000 × 900 px, the slide), label (200"
    assert f"Images of the file: {listed} × 300 px)" in said
    said = info("--series", "none", code=2)
    assert "holds no image 'none'; it holds glass (1000 × 900 px, the slide), label" in said
    assert "tissue (670 × 800 px) (--series)." in said


def test_a_slide_that_is_refused_says_which_other_can_be_chosen(tmp_path: Path) -> None:
    planes = np.zeros((2, 300, 400), np.uint16)
    with tifffile.TiffWriter(tmp_path / "s.ome.tif") as tif:
        tif.write(planes, photometric="minisblack", metadata={"axes": "CYX", "Name": "IF"})
        tif.write(planes[0, :200], photometric="minisblack", metadata={"axes": "YX", "Name": "TL"})
    command = ["info", str(tmp_path / "s.ome.tif")]
    for chosen in ([], ["--series", "IF"]):
        done = CliRunner().invoke(app, [*command, *chosen])
        assert done.exit_code == 2
        said = " ".join(done.stderr.split())
        assert "it has 2 channels (axes CYX), not the 3 of RGB); " in said
        assert said.endswith("or choose another: TL (--series).")
    done = CliRunner().invoke(app, [*command, "--series", "TL"])
    assert "Images of the file: TL (400 × 200 px, chosen), IF (400 × 300 px, the slide)" in (
        " ".join(done.stdout.split())
    )


def test_a_section_that_is_open_stays_as_it_is(counts: Path, cache: Cache) -> None:
    section = open_section(counts, series="tissue", cache=cache)
    how = {"spots": False, "slide": False, "cache": cache, "job": st.Job()}
    same = open_for(section, SlideOptions(series="tissue"), **how)
    assert same is section
    slide = st.read(counts.with_name("s.ome.tif"), cache=cache)
    assert open_for(slide, SlideOptions(series="glass"), **how) is slide
    for options in (SlideOptions(series="label"), SlideOptions(icc=False)):
        with pytest.raises(InputError, match="is open already"):
            open_for(section, options, **how)


def test_a_result_knows_the_image_that_it_was_made_of(
    counts: Path, tmp_path: Path, cache: Cache
) -> None:
    how = {"out": tmp_path / "s.stenhance.zarr", "epochs": 1, "write": "G1", "device": "cpu"}
    result = st.enhance(counts, series="tissue", cache=cache, **how)
    folder = ResultFolder.open(result.path)
    assert folder.attributes["slide"]["series"] == "tissue"
    assert folder.attributes["slide"]["shape"] == [800, 670]
    (run,) = folder.runs
    assert folder.run_attributes(run)["identity"]["learned_from"][0]["slide_series"] == "tissue"
    again = st.enhance(counts, series="tissue", cache=cache, **how)
    assert again.runs == result.runs
    with pytest.raises(InputError, match="another image of the same file"):
        st.enhance(counts, mpp=0.8, cache=cache, **how)
    model = st.Model.load(result.path)
    predicted = model.predict(
        counts.with_name("s.ome.tif"), series="tissue", out=tmp_path / "p.zarr", cache=cache
    )
    np.testing.assert_array_equal(predicted["G1"].values, result["G1"].values)
    layers, *_ = open_layers(result.path)
    infos = [attributes["metadata"]["stenhance"] for _, attributes, _ in layers]
    shown = [info.section.slide.series for info in infos if info.role.name == "slide"]
    assert shown == ["tissue"]
    assert result.to_anndata(at=open_section(counts, series="tissue", cache=cache)).n_obs > 0


def test_colours_as_they_are_stored_are_another_slide(tmp_path: Path, cache: Cache) -> None:
    wide = {"primaries": [0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1], "gamma": 2.2}
    profile = imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.329, 1], **wide)
    path = tmp_path / "s.tif"
    pixels = np.full((100, 100, 3), (128, 200, 128), np.uint8)
    tifffile.imwrite(path, pixels, iccprofile=profile, tile=(64, 64), **made.LOSSLESS)
    done = CliRunner().invoke(app, ["info", str(path), "--no-icc"])
    assert "Converted" not in done.stdout
    assert "colours to sRGB" in CliRunner().invoke(app, ["info", str(path)]).stdout
    section = st.read(path, icc=False, mpp=1.0, cache=cache)
    assert section.need_slide().pixels[0][0, 0].tolist() == [128, 200, 128]
    assert not section.need_slide().same_as(
        replace(section.need_slide(), conversions=("colours to sRGB",))
    )
