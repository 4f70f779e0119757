"""What tests share: synthetic sections, a result, a person at a viewer; the real sections.

What takes long to import is imported in fixtures: the process that starts the workers needs none.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.methods.training_section import TrainingSection
    from napari_stenhance.section.section import Section
    from napari_stenhance.section.slide import Slide
    from napari_stenhance.storage.cache import Cache
    from person import Person

_FROZEN = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave what is imported by now out of the garbage collections that follow each viewer."""
    stash = item.session.stash
    if len(sys.modules) > stash.get(_FROZEN, 0) + 100:
        stash[_FROZEN] = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    from napari_stenhance.storage.cache import Cache

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
    from fuzz_hdf5 import Forking
    from napari_stenhance.section.tables import hdf5

    forking = Forking()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5, "subprocess", forking)
        yield
    forking.close()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    from napari_stenhance.storage.cache import Cache

    return Cache(tmp_path / "cache")


@pytest.fixture(scope="session")
def section_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two synthetic sections on disk, 1.3 × 1.1 mm: an .h5ad with its JPEG each."""
    from made_sections import write_section

    folder = tmp_path_factory.mktemp("sections")
    return [write_section(folder, n, (1600, 1340), seed) for seed, n in enumerate(("one", "two"))]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, session_cache: Cache) -> Path:
    """A folder with two sections of 0.6 × 0.5 mm and cells, one section enhanced."""
    import anndata as ad
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    import napari_stenhance as st
    from made_sections import write_section

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


@pytest.fixture
def result(small: Path, tmp_path: Path) -> Path:
    """A copy of the result that `small` holds, to be changed."""
    copy = tmp_path / "one.stenhance.zarr"
    shutil.copytree(small / copy.name, copy)
    return copy


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, session_cache: Cache) -> Path:
    """A tiny result with everything that results hold."""
    from tiny_result import make_result

    return make_result(tmp_path_factory.mktemp("tiny"), session_cache)


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section of 3.2 × 0.3 mm: two tiles with a fifth of what the first alone could hold."""
    from made_sections import write_section

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

    from made_sections import write_image
    from napari_stenhance.section.slide import Slide

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
def sample(synthetic: Section, session_cache: Cache) -> TrainingSection:
    """The same section as methods learn from it."""
    from made_sections import stain_features
    from napari_stenhance.methods.training_section import TrainingSection
    from napari_stenhance.section.footprint import Footprints

    features = stain_features(synthetic.need_slide(), session_cache)
    under = Footprints.under(
        features.grid, synthetic.spots_um(), synthetic.geometry(), features.tissue
    )
    return TrainingSection.from_section(synthetic, features, under, 0.05)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real sections."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real sections here: {folder} (set STENHANCE_TEST_DATA)")
    return folder


@pytest.fixture
def person(
    tmp_path: Path, make_napari_viewer: Callable[..., Any], qtbot: Any, request: Any
) -> Person:
    """Someone at a real viewer with the docks; what is shown is removed after the viewer.

    The canvas is drawn where a test is marked `painted`: to compile what draws each layer, in
    software, takes as long as all else that a viewer does.
    """
    del tmp_path
    from person import Person

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 900)
    painted = request.node.get_closest_marker("painted") is not None
    viewer.window._qt_window.setUpdatesEnabled(painted)
    return Person(viewer, qtbot)


@pytest.fixture
def notifications() -> Iterator[list[Any]]:
    """What napari has told the user."""
    from napari.utils.notifications import notification_manager

    shown: list[Any] = []
    notification_manager.notification_ready.connect(shown.append)
    yield shown
    notification_manager.notification_ready.disconnect(shown.append)
