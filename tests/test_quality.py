"""Pen marks, blur, folds and bubbles: painted on clean slides, found where they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray
from scipy import ndimage

import napari_stenhance as st
from made_sections import GLASS, MPP, make_slide_pixels, make_spots, write_image
from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.features import bands, focus
from napari_stenhance.features.bands import farther_than
from napari_stenhance.features.quality import KINDS, Quality, find_quality, known_quality
from napari_stenhance.features.tissue import glass_colour
from napari_stenhance.phantoms.anatomy import Anatomy
from napari_stenhance.phantoms.cells import PhantomNuclei
from napari_stenhance.phantoms.paint import Painter
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.quality import quality_layer, quality_legend
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Event, Job, Note
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from person import Person
from test_cli import run

Pixels = NDArray[np.uint8]
INKS = {
    "green": (30, 150, 70),
    "blue": (40, 60, 190),
    "cyan": (40, 170, 220),
    "black": (18, 16, 20),
    "red": (215, 30, 45),
}
"""What is left of white light."""


@pytest.fixture(scope="module")
def clean() -> Pixels:
    return make_slide_pixels((1600, 1340), 0)[0]


def band(
    shape: tuple[int, int], start: tuple[float, float], end: tuple[float, float], width: float
) -> NDArray[np.bool_]:
    """Mark a straight band between two positions (y, x), in pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    length = np.hypot(end[0] - start[0], end[1] - start[1])
    dy, dx = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    along = (y - start[0]) * dy + (x - start[1]) * dx
    across = (x - start[1]) * dy - (y - start[0]) * dx
    return (along > 0) & (along < length) & (np.abs(across) < width / 2)


def inked(pixels: Pixels, ink: tuple[int, int, int], stroke: NDArray[np.bool_]) -> Pixels:
    """Lay ink over a slide: it takes its share of the light."""
    soft = ndimage.gaussian_filter(stroke.astype(float), 2)[..., None]
    noise = np.random.default_rng(0).normal(0, 2, pixels.shape) * soft
    light = pixels * (np.array(ink) / 255.0) ** soft + noise
    return np.clip(light, 0, 255).astype(np.uint8)


def thicker(pixels: Pixels, where: NDArray[np.bool_], times: float) -> Pixels:
    """Lay tissue on itself: its density is multiplied."""
    density = np.log10((GLASS + 1.0) / (pixels + 1.0))
    density *= 1 + (times - 1) * ndimage.gaussian_filter(where.astype(float), 2)[..., None]
    return np.clip((GLASS + 1) * 10**-density - 1, 0, 255).astype(np.uint8)


def stained(pixels: Pixels, strength: float) -> Pixels:
    """Stain a slide more or less."""
    density = np.maximum(np.log10((GLASS + 1.0) / (pixels + 1.0)), 0) * strength
    return np.clip((GLASS + 1) * 10**-density - 1, 0, 255).astype(np.uint8)


def agreement(
    quality: Quality, kind: str, truth: NDArray[np.bool_], mpp: float
) -> tuple[float, float]:
    """Return recall and precision of a kind of fault on the tissue, by superpixel."""
    rows, columns = (((np.arange(n) + 0.5) * 8 / mpp).astype(int) for n in quality.grid.shape)
    inside = quality.tissue & (rows < truth.shape[0])[:, None] & (columns < truth.shape[1])
    rows, columns = (
        np.minimum(n, s - 1) for n, s in zip((rows, columns), truth.shape, strict=True)
    )
    true = truth[np.ix_(rows, columns)] & inside
    found = (quality.labels == KINDS.index(kind) + 1) & inside
    both = int((true & found).sum())
    return both / true.sum(), both / max(int(found.sum()), 1)


def look(slide: Slide, cache: Cache) -> Quality:
    return find_quality(slide, "density", cache, Job())


@pytest.mark.parametrize("strength", [0.6, 1.0, 1.6])
def test_a_clean_slide_is_left_alone(
    clean: Pixels, strength: float, make_slide: Callable[..., Slide], cache: Cache
) -> None:
    quality = look(make_slide(stained(clean, strength), MPP), cache)
    assert sum(quality.shares.values()) < 0.005
    assert quality.doubt(0, 100) == ""
    # 1.28 × 1.07 mm, of which an ellipse is tissue; smoothing widens it by some 8 µm.
    area = np.pi * (0.42 * 1.28 + 0.008) * (0.36 * 1.072 + 0.008)
    assert quality.area_mm2 == pytest.approx(area, rel=0.04)


@pytest.mark.parametrize("ink", INKS)
def test_ink_is_found_where_it_is(
    clean: Pixels, ink: str, make_slide: Callable[..., Slide], cache: Cache
) -> None:
    stroke = band(clean.shape[:2], (350, 350), (1250, 1000), 220)
    quality = look(make_slide(inked(clean, INKS[ink], stroke), MPP), cache)
    recall, precision = agreement(quality, "pen", stroke, MPP)
    assert recall > 0.9
    assert precision > 0.75
    assert quality.shares["fold"] == quality.shares["bubble"] == 0


@pytest.mark.parametrize("strength", [0.6, 1.3])
def test_ink_is_found_on_pale_and_on_dark_tissue(
    clean: Pixels, strength: float, make_slide: Callable[..., Slide], cache: Cache
) -> None:
    stroke = band(clean.shape[:2], (350, 350), (1250, 1000), 220)
    for name in ("blue", "green"):
        pixels = inked(stained(clean, strength), INKS[name], stroke)
        quality = look(make_slide(pixels, MPP, f"{name}.png"), cache)
        recall, precision = agreement(quality, "pen", stroke, MPP)
        assert recall > 0.6
        assert precision > 0.75


def test_painted_background_is_no_ink(
    clean: Pixels, make_slide: Callable[..., Slide], cache: Cache
) -> None:
    cut = clean.copy()
    y, x = np.mgrid[: cut.shape[0], : cut.shape[1]]
    cut[((y / 1600 - 0.5) / 0.46) ** 2 + ((x / 1340 - 0.5) / 0.4) ** 2 > 1] = 0
    assert sum(look(make_slide(cut, MPP), cache).shares.values()) < 0.005


@pytest.mark.parametrize("times", [2, 3])
def test_folds_are_found(
    clean: Pixels, times: int, make_slide: Callable[..., Slide], cache: Cache
) -> None:
    fold = band(clean.shape[:2], (500, 350), (1100, 950), 80)
    quality = look(make_slide(thicker(clean, fold, times), MPP), cache)
    recall, precision = agreement(quality, "fold", fold, MPP)
    assert recall > 0.65
    assert precision > 0.8
    assert quality.shares["pen"] == quality.shares["bubble"] == 0


def test_bubbles_are_found_with_what_is_in_them(
    clean: Pixels, make_slide: Callable[..., Slide], cache: Cache
) -> None:
    y, x = np.mgrid[: clean.shape[0], : clean.shape[1]]
    away = np.hypot(y - 800, x - 700)
    rim = np.exp(-(((away - 200) / 15) ** 2))[..., None]
    pixels = np.clip(clean * (1 - 0.75 * rim), 0, 255).astype(np.uint8)
    quality = look(make_slide(pixels, MPP), cache)
    assert min(agreement(quality, "bubble", away < 215, MPP)) > 0.9
    assert quality.shares["pen"] == quality.shares["fold"] == 0


def test_rasters_in_bands_are_those_of_the_whole(
    clean: Pixels,
    painters: Callable[[float], Pixels],
    make_slide: Callable[..., Slide],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sharp = painters(MPP)
    soft = ndimage.gaussian_filter(sharp, (3, 3, 0))
    y, x = np.mgrid[: clean.shape[0], : clean.shape[1]]
    ring = np.exp(-(((np.hypot(y - 800, x - 700) - 200) / 15) ** 2))[..., None]
    shape = clean.shape[:2]
    seen = set()
    for name, pixels in {
        "ink": inked(clean, INKS["black"], band(shape, (300, 100), (500, 1200), 220)),
        "fold": thicker(clean, band(shape, (500, 350), (1100, 950), 80), 2),
        "bubble": np.clip(clean * (1 - 0.75 * ring), 0, 255).astype(np.uint8),
        "blur": np.where(np.mgrid[:600, :600][1][..., None] < 250, soft, sharp),
    }.items():
        slide, found = make_slide(pixels, MPP, f"{name}.png"), []
        for rows in (10_000, 24):
            monkeypatch.setattr(bands, "_ROWS", rows)
            found.append(look(slide, Cache(tmp_path / str(rows))))
        whole, cut = found
        np.testing.assert_array_equal(cut.labels, whole.labels)
        np.testing.assert_array_equal(cut.tissue, whole.tissue)
        seen |= set(np.unique(whole.labels).tolist())
    assert seen == {0, 1, 2, 3, 4}
    mask = np.random.default_rng(0).random((90, 40)) < 0.002
    expected = ndimage.distance_transform_edt(~mask) * 8.0 > 80.0
    assert expected.any()
    np.testing.assert_array_equal(farther_than(80.0, mask, 8.0), expected)
    assert farther_than(80.0, np.zeros((30, 9), bool), 8.0).all()


@pytest.mark.parametrize("lit", [1, 2, 7, 20, 61, 5000])
def test_the_colour_of_glass_is_the_percentile_of_what_is_lit(lit: int) -> None:
    rng = np.random.default_rng(lit)
    pixels = rng.integers(0, 256, (lit + 40, 2, 3)).astype(np.uint8)
    some = np.zeros(pixels.shape[:2], bool)
    some.ravel()[rng.choice(some.size, lit, replace=False)] = True
    expected = np.percentile(pixels[some], 95, axis=0).astype(np.float32)
    np.testing.assert_array_equal(glass_colour(pixels, some), expected)


@pytest.fixture(scope="module")
def painters() -> Callable[[float], Pixels]:
    """Sharp tissue in the middle of one phantom, 0.48 mm wide, at any scale."""
    anatomy = Anatomy.grow(1000, 5)
    cells = PhantomNuclei.grow(anatomy)

    def paint(mpp: float) -> Pixels:
        window = slice(0, round(480 / mpp))
        return Painter(anatomy, cells, mpp).paint(window, window)

    return paint


@pytest.mark.slow
@pytest.mark.parametrize("mpp", [0.25, 0.8])
def test_blur_is_found_at_any_scale(
    mpp: float,
    painters: Callable[[float], Pixels],
    make_slide: Callable[..., Slide],
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sharp = painters(mpp)
    assert sum(look(make_slide(sharp, mpp), cache).shares.values()) < 0.005
    soft = ndimage.gaussian_filter(sharp, (2.5 / mpp, 2.5 / mpp, 0))
    noise = np.random.default_rng(0).normal(0, 1.2, soft.shape)
    soft = np.clip(soft + noise, 0, 255).astype(np.uint8)
    out = np.zeros(sharp.shape[:2], bool)
    low, high = round(140 / mpp), round(400 / mpp)
    out[low:high, low:high] = True
    slide = make_slide(np.where(out[..., None], soft, sharp), mpp, "blurred.png")
    quality = look(slide, cache)
    recall, precision = agreement(quality, "blur", out, mpp)
    assert recall > 0.7
    assert precision > 0.75
    assert sum(quality.shares.values()) == quality.shares["blur"]
    # Nothing depends on how the slide is cut into tiles.
    monkeypatch.setattr(focus, "_TILE", 50)
    again = look(slide, Cache(cache.root / "again"))
    # A grey level that is rounded the other way may move a superpixel over the threshold.
    assert (again.labels != quality.labels).sum() <= 2


@pytest.mark.parametrize(("mpp", "judged"), [(0.5, True), (0.8, False)])
def test_a_slide_that_is_blurred_everywhere_is_a_doubt(
    mpp: float,
    judged: bool,
    painters: Callable[[float], Pixels],
    make_slide: Callable[..., Slide],
    cache: Cache,
) -> None:
    sharp = painters(mpp)
    quality = look(make_slide(sharp, mpp), cache)
    assert not quality.soft
    assert quality.doubt(0, 0) == ""
    soft = ndimage.gaussian_filter(sharp, (2.5 / mpp, 2.5 / mpp, 0))
    slide = make_slide(soft, mpp, "soft.png")
    quality = look(slide, cache)
    assert quality.soft == judged
    assert ("All of the tissue looks out of focus" in quality.doubt(0, 0)) == judged
    assert ("all of it looks out of focus" in quality.describe()) == judged
    # Kept with the mask; and of what is no worse than the rest nothing is labelled.
    known = known_quality(slide, "density", cache)
    assert known is not None
    assert known.soft == judged
    assert quality.shares["blur"] < 0.01


def test_coarse_pixels_do_not_show_blur(
    clean: Pixels, make_slide: Callable[..., Slide], cache: Cache
) -> None:
    quality = look(make_slide(clean[::4, ::4], 3.2), cache)
    assert "blur" not in quality.shares
    assert quality.describe().endswith("0.0% bubble; 3.2 µm pixels do not show blur")


def test_faults_are_found_once_and_can_be_cancelled(
    clean: Pixels, make_slide: Callable[..., Slide], cache: Cache
) -> None:
    slide = make_slide(clean, MPP)
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        find_quality(slide, "density", cache, job)
    assert known_quality(slide, "density", cache) is None
    first = look(slide, cache)
    events: list[Event] = []
    again = find_quality(slide, "density", cache, Job(listener=events.append))
    known = known_quality(slide, "density", cache)
    assert events == []
    assert known is not None
    for other in (again, known):
        np.testing.assert_array_equal(other.labels, first.labels)
        np.testing.assert_array_equal(other.tissue, first.tissue)
    assert known_quality(slide.with_mpp(0.5, "given"), "density", cache) is None


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section of 0.6 × 0.5 mm with a stroke of cyan ink over some of its spots."""
    folder = tmp_path_factory.mktemp("marked")
    pixels, amounts = make_slide_pixels((800, 670), 0)
    stroke = band((800, 670), (250, 0), (250, 670), 190)
    write_image(folder / "marked_he.png", inked(pixels, INKS["cyan"], stroke))
    make_spots(amounts, 0).write_h5ad(folder / "marked.h5ad")
    return folder / "marked.h5ad"


def under_ink(path: Path) -> NDArray[np.bool_]:
    """Tell which spots lie under the stroke: their centres do, as half of their discs does."""
    return np.abs(ad.read_h5ad(path).obsm["spatial"][:, 1] - 250) < 95


def test_spots_on_faults_are_not_learned_from(
    marked: Path, tmp_path: Path, session_cache: Cache
) -> None:
    number, whole = int(under_ink(marked).sum()), len(under_ink(marked))
    assert 3 < number < whole / 2
    notes: list[str] = []
    job = Job(listener=lambda e: notes.append(e.text) if isinstance(e, Note) else None)
    out = tmp_path / "out.stenhance.zarr"
    more = {"out": out, "epochs": 2, "device": "cpu"}
    result = st.enhance(marked, job=job, **more)
    (doubt,) = (d for d in result.doubts if "Faults" in d)
    assert f"; {number} of {whole} spots on them are not learned from" in doubt
    assert doubt in notes
    # Nothing is lost where something is written: every superpixel, every spot.
    assert len(result.to_anndata(at=marked)) == whole
    identity = ResultFolder.open(out).run_attributes("pixel2gene-stain-robust")["identity"]
    assert identity["quality"] == "quality1"
    # Without, it is another run, and its model another one.
    st.enhance(marked, quality=False, **more)
    runs = ResultFolder.open(out).runs
    assert list(runs) == ["pixel2gene-stain-robust", "pixel2gene-stain-robust-2"]
    other = ResultFolder.open(out).run_attributes("pixel2gene-stain-robust-2")
    assert "quality" not in other["identity"]
    assert not any("Faults" in d for d in other["doubts"])
    models = [ResultFolder.open(out).model_folder(r) / "weights.safetensors" for r in runs]
    assert models[0].read_bytes() != models[1].read_bytes()


def test_a_slide_that_is_only_predicted_on_is_doubted_too(marked: Path, here: Path) -> None:
    slide = marked.with_name("marked_he.png")
    result = st.enhance(
        "one.h5ad", predict=slide, mpp=0.8, epochs=1, device="cpu", out=here / "marked.zarr"
    )
    (doubt,) = (d for d in result.doubts if "Faults" in d)
    assert doubt.startswith(slide.stem)
    assert "learned" not in doubt


def test_a_section_under_ink_is_refused(tmp_path: Path) -> None:
    pixels, amounts = make_slide_pixels((800, 670), 0)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    everywhere = ((y / 800 - 0.5) / 0.46) ** 2 + ((x / 670 - 0.5) / 0.42) ** 2 < 1
    write_image(tmp_path / "all_he.png", inked(pixels, INKS["cyan"], everywhere))
    make_spots(amounts, 0).write_h5ad(tmp_path / "all.h5ad")
    with pytest.raises(InputError, match="every spot lies on a pen mark") as raised:
        st.enhance(tmp_path / "all.h5ad", out=tmp_path / "o.stenhance.zarr", device="cpu")
    assert raised.value.option == "quality"


def test_info_says_what_is_known_or_asked_for(
    marked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path))
    assert not any("Quality" in line for line in st.info(marked))
    said = run("info", str(marked), "--quality").stdout
    assert "Quality: of " in said
    lines = st.info(marked)
    (line,) = (line for line in lines if line.startswith("Quality: of "))
    assert line in " ".join(said.split())
    assert "0.0% pen" not in line
    assert any(line.startswith("Doubt: Faults of the slide cover ") for line in lines)


def test_the_layer_lies_on_the_slide_and_says_its_kinds(marked: Path, cache: Cache) -> None:
    section = st.read(marked)
    assert section.slide is not None
    quality = look(section.slide, cache)
    viewer = ViewerModel()
    add_layers(viewer, [quality_layer(section, quality)])
    ((layer, _),) = layers_of(viewer, "quality")
    np.testing.assert_allclose(layer.scale, 8)
    np.testing.assert_allclose(layer.translate, (8 - section.mpp) / 2)
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    # The middle of the stroke, 250 px from the top.
    at = (250 * MPP, 300 * MPP)
    assert layer.get_value(at, world=True) == 1
    assert "fault: pen" in layer.get_status(at, world=True)["value"]
    # A colour never stands on another line than its name.
    assert f"■</span>&nbsp;pen&nbsp;{quality.shares['pen']:.1%}" in quality_legend(quality)
    assert "bubble&nbsp;0.0%" in quality_legend(quality)


@pytest.mark.slow
def test_the_dock_checks_a_slide_and_shows_its_faults(
    marked: Path, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path))
    dock = person.section
    assert not dock.quality.check.isEnabled()
    person.drop(marked)
    # Nobody has asked.
    assert list(layers_of(person.viewer, "quality")) == []
    assert "Quality" not in dock.words.toPlainText()
    person.click(dock.quality.check)
    person.click(dock.run_bar.cancel)
    person.wait(lambda: not dock.run_bar.busy)
    assert list(layers_of(person.viewer, "quality")) == []
    for _ in range(2):
        person.click(dock.quality.check)
        person.wait(lambda: not dock.run_bar.busy)
    layer = person.layer("quality")
    assert layer.visible
    assert layer.name == "quality of marked"
    assert layer.get_value((250 * MPP, 300 * MPP), world=True) == KINDS.index("pen") + 1
    assert "Quality: of " in dock.words.toPlainText()
    assert dock.quality.legend.isVisible()
    assert "marked: " in dock.quality.legend.text()
    if picture := os.environ.get("STENHANCE_PICTURE"):
        person.bot.wait(500)
        person.viewer.screenshot(picture, canvas_only=False, flash=False)
    person.viewer.layers.remove(layer)
    assert not dock.quality.legend.isVisible()
