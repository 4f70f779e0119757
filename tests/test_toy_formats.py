"""Formats of other packages, each one file: they open at every door as ours do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_stenhance as st
from napari_stenhance.cli import app
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layer_info import KEY
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.running.extensions import extensions
from napari_stenhance.section.images.opening import image_suffixes, open_image
from napari_stenhance.storage.cache import Cache

SLIDES = '''
"""Slides as a header, "TOY", height, width and µm per pixel, before their raw colours."""
import numpy as np
from napari_stenhance.section.images.image import STRIP, ImageFormat, ImageSource

HEADER = 64

def _open(path):
    _, height, width, mpp = path.read_bytes()[:HEADER].split()
    pixels = np.memmap(path, np.uint8, "r", HEADER, (int(height), int(width), 3))
    strips = lambda: (np.asarray(pixels[n : n + STRIP]) for n in range(0, len(pixels), STRIP))
    return ImageSource(path, pixels.shape[:2], strips, mpp=float(mpp), mpp_source="the toy header")

FORMAT = ImageFormat("toy image", (".toyimg",), lambda _, start: start.startswith(b"TOY"), _open)
'''
SPOTS = '''
"""Spots as a folder's toy.csv, of x, y and the counts of genes, beside its one toy image."""
from napari_stenhance.section.formats.format import SectionFiles, SectionFormat

def _open(folder):
    import anndata as ad
    import pandas as pd

    table = pd.read_csv(folder / "toy.csv")
    xy = table[["x", "y"]].to_numpy(float)
    def read():
        counts = table.drop(columns=["x", "y"]).astype("f4").set_axis(table.index.astype(str))
        return ad.AnnData(counts, obsm={"spatial": xy}), ("These are toys.",)
    images = tuple(folder.glob("*.toyimg"))
    return SectionFiles(folder.name, folder / "toy.csv", images, xy, None, "unknown", read)

FORMAT = SectionFormat(
    "a folder of toys (toy.csv)", lambda path: (path / "toy.csv").is_file(), _open
)
'''
ENTRIES = """
[napari_stenhance.section.images]
toy = toy_slides:FORMAT
[napari_stenhance.section.formats]
toy = toy_spots:FORMAT
"""
SHAPE = (700, 600)


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a package that adds both formats; write a folder of toys."""
    package = tmp_path / "package"
    info = package / "toys-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "toy_slides.py").write_text(SLIDES, "utf-8")
    (package / "toy_spots.py").write_text(SPOTS, "utf-8")
    (info / "METADATA").write_text("Name: toys\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(ENTRIES, "utf-8")
    folder = tmp_path / "toys"
    folder.mkdir()
    header = "TOY {} {} 0.5".format(*SHAPE).encode().ljust(64)
    (folder / "he.toyimg").write_bytes(header + _pixels().tobytes())
    lines = [f"{x},{y},{x},{y}" for x in range(50, 600, 200) for y in range(50, 700, 200)]
    (folder / "toy.csv").write_text("\n".join(["x,y,ERBB2,MKI67", *lines]), "utf-8")
    monkeypatch.syspath_prepend(package)
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "cache"))
    extensions.cache_clear()
    yield folder
    extensions.cache_clear()


def _pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


def test_a_slide_of_another_package_opens_at_every_door(toys: Path, cache: Cache) -> None:
    slide = st.read(toys / "he.toyimg", cache=cache).need_slide()
    assert (slide.name, slide.mpp, slide.mpp_source) == ("he", 0.5, "the toy header")
    np.testing.assert_array_equal(slide.pixels[0][:, :], _pixels())
    assert [level.shape[:2] for level in slide.pixels] == [SHAPE, (350, 300)]
    said = CliRunner().invoke(app, ["info", str(toys / "he.toyimg")])
    assert "Slide: he.toyimg, 600 × 700 px, 2 levels, 0.5 µm per pixel" in said.output
    reader = get_reader(str(toys / "he.toyimg"))
    assert reader is not None
    shown = [layer[1]["metadata"][KEY].role.name for layer in reader(str(toys / "he.toyimg"))]
    assert shown == ["slide"]
    assert ".toyimg" in image_suffixes()
    (toys / "text.toyimg").write_text("no toy")
    with pytest.raises(InputError, match=r"it is no .*, TIFF or toy image"):
        open_image(toys / "text.toyimg")


def test_spots_of_another_package_open_at_every_door(toys: Path, cache: Cache) -> None:
    section = st.read(toys, cache=cache)
    spots = section.need_spots()
    assert (spots.shape, list(spots.var_names)) == ((12, 2), ["ERBB2", "MKI67"])
    assert section.need_slide().path.name == "he.toyimg"
    assert section.geometry().pitch_um == 100
    assert "These are toys." in section.doubts
    said = CliRunner().invoke(app, ["info", str(toys)])
    assert "Spots: 12 × 2 genes" in said.output
    reader = get_reader(str(toys))
    assert reader is not None
    assert [layer[2] for layer in reader(str(toys))] == ["image", "points"]
    (toys / "toy.csv").unlink()
    assert get_reader(str(toys)) is None
    with pytest.raises(InputError, match=r"no section that can be read.*a folder of toys"):
        st.read(toys, cache=cache)
