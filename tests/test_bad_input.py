"""Every kind of bad input: one sentence, exit code 2, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import pyvips
import scipy.sparse as sp
import tifffile
from PIL.Image import DecompressionBombError
from PIL.Image import open as open_with_pillow

import napari_stenhance as st
from forked import COMMAND, Program
from made_sections import MPP, make_slide_pixels
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_run
from napari_stenhance.running.job import Event, Progress
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from test_cli import run
from test_section import edit_counts, write_legacy

Change = Callable[[Path], None]


def _spots(folder: Path, change: Callable[[ad.AnnData], ad.AnnData | None]) -> None:
    spots = ad.read_h5ad(folder / "s.h5ad")
    changed = change(spots)
    (spots if changed is None else changed).write_h5ad(folder / "s.h5ad")


def _set(spots: ad.AnnData, row: int, column: int, value: float) -> None:
    counts = spots.X.tolil()
    counts[row, column] = value
    spots.X = counts.tocsr()


def _swap(spots: ad.AnnData) -> None:
    spots.obsm["spatial"] = np.asarray(spots.obsm["spatial"])[:, ::-1]
    # Numbers of the array would tell, and it would be put right.
    spots.obs = spots.obs.drop(columns=["array_x", "array_y"])


def _hires(spots: ad.AnnData) -> None:
    """Give Visium's lattice, with coordinates of a picture 20 times smaller."""
    row, column = np.divmod(np.arange(spots.n_obs), 8)
    spots.obs["array_row"], spots.obs["array_col"] = row, 2 * column + row % 2
    lattice = np.column_stack([spots.obs["array_col"] / 2, row * np.sqrt(3) / 2])
    spots.obsm["spatial"] = 5 + lattice * 100 / MPP / 60
    spots.uns.clear()


def _log(spots: ad.AnnData) -> None:
    counts = spots.X
    spots.X = sp.csr_matrix(np.log1p(counts / counts.sum(axis=1) * 1e4))


def _twice(spots: ad.AnnData) -> None:
    with warnings.catch_warnings(action="ignore"):
        spots.obs_names = ["one", *spots.obs_names[1:-1], "one"]


def _cut(name: str, share: float) -> Change:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return change


def _damaged_tiff(folder: Path) -> None:
    pixels, _ = make_slide_pixels((1600, 1340), 0)
    (folder / "s_he.jpg").unlink()
    path = folder / "s_he.tif"
    options = {"tile": (256, 256), "compression": "jpeg", "photometric": "rgb"}
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, subifds=1, **options)
        tif.write(pixels[::2, ::2], subfiletype=1, **options)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        offsets, counts = page.dataoffsets, page.databytecounts
    content = bytearray(path.read_bytes())
    for offset, count in zip(offsets, counts, strict=True):
        content[offset : offset + count] = b"\x00" * count
    path.write_bytes(content)


def _move_far(spots: ad.AnnData) -> None:
    """Onto the glass: the corner of the slide."""
    spots.obsm["spatial"] = np.asarray(spots.obsm["spatial"]) * 0.05


CASES: dict[str, tuple[Change, str]] = {
    "no image": (lambda f: (f / "s_he.jpg").unlink(), "has no slide"),
    "two images": (
        lambda f: shutil.copy(f / "s_he.jpg", f / "s_b.jpg"),
        "several files could be the image",
    ),
    "spots outside the slide": (
        lambda f: _spots(f, lambda s: s.obsm.update(spatial=s.obsm["spatial"] * 9)),
        "image s_he.jpg was left out",
    ),
    "duplicated spot": (
        lambda f: _spots(f, _twice),
        "occurs more than once",
    ),
    "no positions": (lambda f: _spots(f, lambda s: s.obsm.clear()), 'obsm["spatial"] is missing'),
    "missing scale": (lambda f: _spots(f, lambda s: s.uns.clear()), "scale is unknown; give it"),
    "absurd scale": (
        lambda f: _spots(f, lambda s: s.uns.update(microns_per_pixel=300.0)),
        "cannot be right for a slide",
    ),
    "swapped x and y": (lambda f: _spots(f, _swap), "with x and y swapped"),
    "coordinates of a smaller picture": (lambda f: _spots(f, _hires), "belong to a smaller"),
    "truncated JPEG": (_cut("s_he.jpg", 0.6), "cannot be read"),
    "truncated h5ad": (_cut("s.h5ad", 0.5), "no HDF5 file that can be read"),
    "no image at all in the JPEG": (
        lambda f: (f / "s_he.jpg").write_text("see the other folder", "utf-8"),
        "cannot be read",
    ),
    "damaged TIFF": (_damaged_tiff, "a tile of the image cannot be read"),
    "negative count": (lambda f: _spots(f, lambda s: _set(s, 3, 5, -2)), "is -2; counts must be"),
    "NaN": (lambda f: _spots(f, lambda s: _set(s, 3, 5, np.nan)), "is nan; counts must be"),
    "a half count": (lambda f: _spots(f, lambda s: _set(s, 3, 5, 100.5)), "these look normalised"),
    "log-transformed": (lambda f: _spots(f, _log), "these look log-transformed"),
    "no spot on tissue": (lambda f: _spots(f, _move_far), "lies on tissue and has counts"),
    "too few spots": (lambda f: _spots(f, lambda s: s[:6].copy()), "at least 10 are needed"),
    "no spots": (lambda f: _spots(f, lambda s: s[:0].copy()), "0 spots"),
}


@pytest.fixture
def folder(section_files: list[Path], tmp_path: Path) -> Path:
    """A good section in a folder of its own."""
    return _copied(section_files[0].parent, tmp_path)


@pytest.fixture
def little(small: Path, tmp_path: Path) -> Path:
    """A quarter of that."""
    return _copied(small, tmp_path)


def _copied(section: Path, place: Path) -> Path:
    folder = place / "in"
    folder.mkdir()
    shutil.copy(section / "one.h5ad", folder / "s.h5ad")
    shutil.copy(section / "one_he.jpg", folder / "s_he.jpg")
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def _refused(*arguments: object) -> str:
    """Run `enhance`, and return its one sentence."""
    ran = run("enhance", *arguments, "--device", "cpu", code=2)
    errors = [line for line in ran.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert "Traceback" not in ran.output
    assert ran.stdout == ""
    return errors[0]


@pytest.mark.parametrize("case", CASES)
def test_bad_sections(case: str, folder: Path, tmp_path: Path) -> None:
    spoil, sentence = CASES[case]
    spoil(folder)
    before = _contents(folder)
    out = tmp_path / "r.stenhance.zarr"
    error = _refused(folder, "--out", out)
    assert sentence in error
    assert str(folder) in error or error.startswith("Error: s:")
    assert _contents(folder) == before
    assert not out.exists() or ResultFolder.is_result(out)


def test_ids_that_do_not_meet(tmp_path: Path) -> None:
    apart = write_legacy(tmp_path / "apart")
    edit_counts(apart, lambda text: text.replace("x", "x9"))
    assert "do not belong together" in _refused(apart, "--out", tmp_path / "r")


def test_an_option_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    assert "cannot be right" in _refused(folder, "--out", out, "--mpp", 0.001)
    assert "NOPE" in _refused(folder, "--out", out, "--genes", "NOPE")
    assert not out.exists()


@pytest.mark.parametrize("kind", ["cmyk.jpg", "grey.jpg", "16bit.png", "palette.png", "alpha.png",
                                  "16bit.tif", "flat.tif"])  # fmt: skip
def test_images_of_every_kind_open_in_their_colours(kind: str, tmp_path: Path) -> None:
    """Not errors: CMYK, 16 bits, palettes, grey and transparency become 8-bit RGB."""
    pixels, _ = make_slide_pixels((300, 260), 0)
    image = pyvips.Image.new_from_array(pixels)
    path = tmp_path / kind
    if kind == "cmyk.jpg":
        image.colourspace("cmyk").write_to_file(f"{path}[Q=98]")
    elif kind == "grey.jpg":
        image.colourspace("b-w").write_to_file(f"{path}[Q=98]")
    elif kind.startswith("16bit"):
        image.colourspace("rgb16").write_to_file(str(path))
    elif kind == "palette.png":
        image.write_to_file(f"{path}[palette]")
    elif kind == "alpha.png":
        image.bandjoin(255).write_to_file(str(path))
    else:
        image.write_to_file(str(path))
    level = st.Slide.open(path, mpp=1).levels[0].compute()
    assert level.shape == (300, 260, 3)
    assert level.dtype == np.uint8
    wanted = (
        pixels if kind != "grey.jpg" else np.asarray(image.colourspace("b-w").numpy())[..., None]
    )
    off = np.abs(level.astype(float) - wanted).mean()
    assert off < (25 if kind == "cmyk.jpg" else 6)


def test_a_jpeg_beyond_pillows_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses from 179 megapixels; here from 0.18."""
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 89_478)
    path = tmp_path / "large.jpg"
    pyvips.Image.black(500, 400, bands=3).invert().write_to_file(str(path))
    with pytest.raises(DecompressionBombError):
        open_with_pillow(path)
    slide = st.Slide.open(path, mpp=0.5)
    assert slide.shape == (400, 500)
    assert (slide.levels[-1].compute() == 255).all()


def test_one_gene(little: Path, tmp_path: Path) -> None:
    """Not an error: a basis of one axis."""
    run("enhance", little, "--out", tmp_path / "r", "--genes", "G1", "--epochs", 2,
        "--device", "cpu")  # fmt: skip
    result = ResultFolder.open(tmp_path / "r")
    image = field_run(result).field.image("G1")
    assert np.nanstd(image) > 0


def test_a_section_of_one_gene(little: Path, tmp_path: Path) -> None:
    _spots(little, lambda s: s[:, :1].copy())
    run("enhance", little, "--out", tmp_path / "r", "--epochs", 2, "--device", "cpu")
    assert ResultFolder.open(tmp_path / "r").field("pixel2gene-stain-robust").genes == ("G0",)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a place where none may write")
def test_no_permission(folder: Path) -> None:
    error = _refused(folder, "--out", "/proc/nobody-writes-here.stenhance.zarr")
    assert "this cannot be written" in error


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no sizes of files")
def test_a_full_disk(little: Path, tmp_path: Path) -> None:
    """The failure is the system's own: a limit on the size of files."""
    command = ("enhance", little, "--out", tmp_path / "r.stenhance.zarr", "--device", "cpu",
               "--epochs", "1")  # fmt: skip
    given = {"words": tmp_path / "words", "environment": {"STENHANCE_CACHE": str(tmp_path / "c")}}
    with Program(COMMAND, *command, largest_file=200_000, **given) as program:
        assert program.wait() == 2, program.stderr
        assert "Traceback" not in program.stderr
        errors = [line for line in program.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert "cannot be written" in errors[0]
    assert os.strerror(errno.EFBIG) in errors[0]
    # With room, the same command ends well.
    with Program(COMMAND, *command, **given) as program:
        assert program.wait() == 0, program.stderr


@pytest.mark.parametrize("kind", ["pyramids3", "features2"])
def test_a_cache_that_is_deleted_in_mid_run(kind: str, little: Path, tmp_path: Path) -> None:
    cache = st.Cache(tmp_path / "cache")
    when = {"pyramids3": "Extracting", "features2": "Predicting"}[kind]

    def delete(event: Event) -> None:
        if isinstance(event, Progress) and event.stage.startswith(when) and not event.done:
            shutil.rmtree(cache.root / kind, ignore_errors=True)

    options = EnhanceOptions(
        sections=little, out=tmp_path / "r", epochs=2, device="cpu", genes="hvg:5"
    )
    with pytest.raises(st.InputError, match="deleted while it was in use; run the same"):
        enhance(options, st.Job(listener=delete), cache)
    (result,) = enhance(options, None, cache)
    fresh = enhance(
        EnhanceOptions(
            sections=little, out=tmp_path / "fresh", epochs=2, device="cpu", genes="hvg:5"
        ),
        None,
        st.Cache(tmp_path / "other"),
    )
    run_name = field_run(result).name
    for gene in result.field(run_name).genes:
        image = result.field(run_name).image(gene)
        np.testing.assert_array_equal(image, fresh[0].field(run_name).image(gene))
