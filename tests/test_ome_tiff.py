"""Slides and genes leave as OME-TIFF, which OpenSlide, tifffile and this package read."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from typer.testing import CliRunner

import napari_stenhance as st
from made_sections import make_slide_pixels, write_image
from napari_stenhance.cli import app
from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_runs
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from tiny_result import GENES, GRID, IMPUTED, RUN, make_result


def _near(read: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> bool:
    """Tell whether JPEG of the quality that is written may have made one of the other."""
    off = np.abs(read.astype(int) - pixels)
    return bool(off.mean() < 1.5 and np.quantile(off, 0.999) <= 8)


def test_a_slide_is_read_by_openslide_tifffile_and_ourselves(
    tmp_path: Path, session_cache: Cache
) -> None:
    pixels, _ = make_slide_pixels((1300, 1500), 0)
    path, out = write_image(tmp_path / "he.png", pixels), tmp_path / "he.ome.tif"
    command = ["export", str(path), "--to", "ome-tiff", "--mpp", "0.5", "--out", str(out)]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    with openslide.OpenSlide(out) as read:
        assert read.dimensions == (1500, 1300)
        region = np.asarray(read.read_region((200, 100), 0, (700, 600)))[..., :3]
    assert _near(region, pixels[100:700, 200:900])
    slide = Slide.open(path, cache=session_cache)
    with tifffile.TiffFile(out) as tif:
        assert tif.is_bigtiff
        (series,) = tif.series
        assert [level.shape for level in series.levels] == [level.shape for level in slide.pixels]
        for level, expected in zip(series.levels, slide.pixels, strict=True):
            assert _near(level.asarray(), expected[:, :])
        said = ElementTree.fromstring(tif.ome_metadata)
        (whole,) = (one for one in said.iter() if one.tag.endswith("}Pixels"))
        assert [whole.get(f"PhysicalSize{a}") for a in "XY"] == ["0.5", "0.5"]
        assert tif.pages[0].subifds is not None
    again = Slide.open(out, cache=session_cache)
    assert (again.mpp, again.downsamples) == (0.5, slide.downsamples)


def test_genes_are_floats_with_their_names_and_scale(tmp_path: Path, session_cache: Cache) -> None:
    path, out = make_result(tmp_path, session_cache), tmp_path / "genes.ome.tif"
    genes = [GENES[2], GENES[0]]
    st.export(path, out, to="ome-tiff", genes=genes, run=RUN)
    (run,) = (one for one in field_runs(ResultFolder.open(path)) if one.name == RUN)
    with tifffile.TiffFile(out) as tif:
        (series,) = tif.series
        assert (series.axes, series.dtype) == ("CYX", np.float32)
        for level, shown in enumerate(series.levels):
            expected = np.stack([run.levels(gene).part(level) for gene in genes])
            np.testing.assert_array_equal(shown.asarray(), expected)
        assert series.shape == (2, *GRID.shape)
        xml = ElementTree.fromstring(tif.ome_metadata)
    (pixels,) = (one for one in xml.iter() if one.tag.endswith("}Pixels"))
    channels = [one.get("Name") for one in pixels if one.tag.endswith("}Channel")]
    assert channels == genes
    assert (pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "µm")) == ("16.0", "µm")
    (about,) = (one.text for one in xml.iter() if one.tag.endswith("}Description"))
    assert about == f"log1p CP10k of the run {RUN}; NaN where there is nothing"
    st.export(path, tmp_path / "one.ome.tif", to="ome-tiff", genes=GENES[:1], run=RUN)
    with pytest.raises(InputError, match=f"its one channel is called '{GENES[0]}', .* no slides"):
        st.read(tmp_path / "one.ome.tif", cache=session_cache)


def test_imputed_genes_say_where_they_lie(tmp_path: Path, session_cache: Cache) -> None:
    path = make_result(tmp_path, session_cache)
    result = st.Result.open(path).run(IMPUTED)
    out = st.export(result, tmp_path / "imputed.ome.tif", to="ome-tiff", genes="A")
    expected = result["A"]
    with tifffile.TiffFile(out) as tif:
        np.testing.assert_array_equal(tif.series[0].asarray().squeeze(), expected.values)


def test_what_cannot_be_exported_is_said(tmp_path: Path, session_cache: Cache) -> None:
    path, out = make_result(tmp_path, session_cache), tmp_path / "x.ome.tif"
    slide = tmp_path / "slide.png"
    with pytest.raises(InputError, match="needs genes, whose images are written"):
        st.export(path, out, to="ome-tiff")
    with pytest.raises(InputError, match="holds images; spots and tables are exported as h5ad"):
        st.export(path, out, to="ome-tiff", genes="A", table="spots")
    with pytest.raises(InputError, match="Genes and runs are of a result"):
        st.export(slide, out, to="ome-tiff", genes="A")
    table = tmp_path / "x.h5ad"
    with pytest.raises(InputError, match="this is no result"):
        st.export(tmp_path, table)
    for section in (slide, st.read(slide, cache=session_cache)):
        with pytest.raises(InputError, match="written of a result; of a section, ome-tiff is"):
            st.export(section, table)
    # A file that is called as those of another format are would deceive what opens it.
    with pytest.raises(InputError, match=r"x\.ome\.tif: h5ad is to be written, and this is a name"):
        st.export(path, out, genes="A")
    with pytest.raises(InputError, match=r"x\.h5ad: ome-tiff is to be written"):
        st.export(path, table, to="ome-tiff", genes="A")
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        st.export(slide, out, to="ome-tiff", job=job, cache=session_cache)
    assert not out.exists()
    assert not table.exists()
