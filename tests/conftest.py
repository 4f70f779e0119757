"""A small synthetic section whose genes follow its stain, and the real sections where they are."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import pyvips
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage

from fuzz_hdf5 import Forking
from napari_stenhance.features.masks import TissueKind
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import FeatureSettings, FeatureSource
from napari_stenhance.running.job import Job
from napari_stenhance.section.section import Section
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.tables import hdf5
from napari_stenhance.storage.cache import Cache

if TYPE_CHECKING:
    from person import Person

GLASS = np.array([245, 242, 244])
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])
MPP = 0.8
PITCH_UM = 100.0


def _blurred(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Blur what goes on at the other edge: of these widths much faster than a convolution."""
    spectrum = ndimage.fourier_gaussian(fft.rfft2(values), sigma, n=values.shape[1])
    return fft.irfft2(spectrum, values.shape)


def _amounts(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw smooth amounts of haematoxylin and eosin in a blob of tissue on glass."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    tissue = ((y / height - 0.5) / 0.42) ** 2 + ((x / width - 0.5) / 0.36) ** 2 < 1
    fields = []
    for sigma_um in (40, 60):
        noise = _blurred(rng.standard_normal(shape), sigma_um / MPP)
        fields.append(ndimage.gaussian_filter(0.5 + 0.5 * np.tanh(noise / noise.std()), 1))
    nuclei = ndimage.gaussian_filter((rng.random(shape) < 0.004).astype(float), 3 / MPP)
    nuclei /= nuclei.max()
    haematoxylin = 0.15 + 0.9 * fields[0] * nuclei + 0.15 * fields[0]
    eosin = 0.1 + 0.3 * fields[1]
    return np.stack([haematoxylin, eosin]) * tissue


def make_slide_pixels(
    shape: tuple[int, int], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    amounts = _amounts(shape, rng)
    density = np.einsum("syx,sc->yxc", amounts, np.stack([HAEMATOXYLIN, EOSIN]))
    pixels = GLASS * 10**-density + rng.normal(0, 1.5, (*shape, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8), amounts


def write_image(path: Path, pixels: NDArray[np.uint8]) -> Path:
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, bands, "uchar")
    image.copy(interpretation="srgb").write_to_file(str(path))
    return path


def make_spots(amounts: NDArray[np.float64], seed: int, genes: int = 40) -> ad.AnnData:
    """Count genes that follow haematoxylin, eosin, or nothing, at spots of a square lattice."""
    rng = np.random.default_rng(seed + 100)
    height, width = amounts.shape[1:]
    step = PITCH_UM / MPP
    cx, cy = np.meshgrid(np.arange(step / 2, width, step), np.arange(step / 2, height, step))
    xy = np.column_stack([cx.ravel(), cy.ravel()])
    # Means around spots alone: a blur of the whole slide takes seconds.
    near_y, near_x = (
        np.exp(-0.5 * (np.subtract.outer(at.astype(int), np.arange(n)) / (20 / MPP)) ** 2)
        for at, n in ((cy[:, 0], height), (cx[0], width))
    )
    near_y, near_x = (n / n.sum(axis=1, keepdims=True) for n in (near_y, near_x))
    seen = [(near_y @ a @ near_x.T).ravel() for a in amounts]
    keep = seen[1] > 0.05
    xy = xy[keep]
    drive = np.stack([(s[keep] - s[keep].mean()) / s[keep].std() for s in seen], axis=1)
    loading = np.zeros((2, genes))
    loading[0, : genes // 3] = np.random.default_rng(7).uniform(0.5, 1, genes // 3)
    loading[1, genes // 3 : 2 * genes // 3] = 0.8
    rate = np.exp(2 + drive @ loading)
    counts = rng.poisson(rate * rng.gamma(20, 1 / 20, (len(xy), 1)))
    return ad.AnnData(
        X=sp.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(
            np.rint(xy / step - 0.5),
            columns=["array_x", "array_y"],
            index=[f"s{n}" for n in range(len(xy))],
        ),
        var=pd.DataFrame(index=[f"G{n}" for n in range(genes)]),
        obsm={"spatial": xy},
        uns={"microns_per_pixel": MPP, "spot_diameter_um": 55.0, "spot_pitch_um": PITCH_UM},
    )


_FROZEN = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave what is imported by now out of the garbage collections that follow each viewer."""
    stash = item.session.stash
    if len(sys.modules) > stash.get(_FROZEN, 0) + 100:
        stash[_FROZEN] = len(sys.modules)
        gc.collect()
        gc.freeze()


def stain_features(slide: Slide, cache: Cache, tissue: TissueKind = "density") -> FeatureSource:
    """Extract the superpixels of `stain`."""
    settings = FeatureSettings(find_encoder("stain"), torch.device("cpu"), cache, tissue)
    features = open_features(slide, settings, Job())
    features.extract()
    return features


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _own_cache(session_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's cache; all share one, as the runs of a user do."""
    monkeypatch.setenv("STENHANCE_CACHE", str(session_cache.root))


@pytest.fixture(scope="session", autouse=True)
def _hdf5_in_forks() -> Iterator[None]:
    """Files are looked through as users' are; only the start of Python is saved for each."""
    if not hasattr(os, "fork"):
        yield
        return
    forking = Forking()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5, "subprocess", forking)
        yield
    forking.close()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / "cache")


def write_section(folder: Path, name: str, shape: tuple[int, int], seed: int = 0) -> Path:
    """Write a synthetic section: an .h5ad, and its JPEG beside it."""
    pixels, amounts = make_slide_pixels(shape, seed)
    write_image(folder / f"{name}_he.jpg[Q=95]", pixels)
    make_spots(amounts, seed).write_h5ad(folder / f"{name}.h5ad")
    return folder / f"{name}.h5ad"


@pytest.fixture(scope="session")
def section_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two synthetic sections on disk, 1.3 × 1.1 mm: an .h5ad with its JPEG each."""
    folder = tmp_path_factory.mktemp("sections")
    return [write_section(folder, n, (1600, 1340), seed) for seed, n in enumerate(("one", "two"))]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, session_cache: Cache) -> Path:
    """A folder with two sections of 0.6 × 0.5 mm and cells, one section enhanced."""
    import napari_stenhance as st

    folder = tmp_path_factory.mktemp("small")
    for seed, name in enumerate(("one", "two")):
        write_section(folder, name, (800, 670), seed)
    genes = [*(f"G{n}" for n in range(40)), *(f"NEW{n}" for n in range(4))]
    rate = np.random.default_rng(0).gamma(2, 2, (80, len(genes)))
    cells = ad.AnnData(
        sp.csr_matrix(np.random.default_rng(1).poisson(rate).astype(np.float32)),
        obs=pd.DataFrame(index=[f"c{n}" for n in range(80)]),
        var=pd.DataFrame(index=genes),
    )
    cells.write_h5ad(folder / "cells.h5ad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STENHANCE_CACHE", str(session_cache.root))
        patch.chdir(folder)
        st.enhance("one.h5ad", epochs=2, device="cpu", job=st.Job())
    return folder


@pytest.fixture(scope="session")
def small_files(small: Path) -> list[Path]:
    """Those two sections, a quarter as large as `section_files`: where the size says nothing."""
    return [small / "one.h5ad", small / "two.h5ad"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, session_cache: Cache) -> Path:
    """A tiny result with everything that results hold."""
    from tiny_result import make_result

    return make_result(tmp_path_factory.mktemp("tiny"), session_cache)


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section of 3.2 × 0.3 mm: two tiles with a fifth of what the first alone could hold."""
    return write_section(tmp_path_factory.mktemp("long"), "long", (4000, 320))


@pytest.fixture
def here(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, with what `small` holds."""
    for file in small.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make_slide(tmp_path: Path, cache: Cache) -> Callable[..., Slide]:
    """Write pixels to a PNG and open it."""

    def make(pixels: NDArray[np.uint8], mpp: float = 1.0, name: str = "slide.png") -> Slide:
        return Slide.open(write_image(tmp_path / name, pixels), mpp=mpp, cache=cache)

    return make


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of TIFFs were read, each time."""
    from napari_stenhance.section.images.tiff.tiles import TiffReader

    counts: list[int] = []
    read = TiffReader.bytes_at

    def counting(self: TiffReader, offset: int, count: int) -> bytes:
        counts.append(count)
        return read(self, offset, count)

    monkeypatch.setattr(TiffReader, "bytes_at", counting)
    return counts


@pytest.fixture(scope="session")
def synthetic(section_files: list[Path], session_cache: Cache) -> Section:
    from napari_stenhance.section.section import open_section

    return open_section(section_files[0], cache=session_cache)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real sections."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real sections here: {folder} (set STENHANCE_TEST_DATA)")
    return folder


@pytest.fixture
def person(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Person:
    """Someone at a real viewer with the docks."""
    from person import Person

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 900)
    return Person(viewer, qtbot)


@pytest.fixture
def notifications() -> Iterator[list[Any]]:
    """What napari has told the user."""
    from napari.utils.notifications import notification_manager

    shown: list[Any] = []
    notification_manager.notification_ready.connect(shown.append)
    yield shown
    notification_manager.notification_ready.disconnect(shown.append)
