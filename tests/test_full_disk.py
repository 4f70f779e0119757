"""A full disk: one sentence, nothing half, and no training lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import napari_stenhance as st
from forked import Program
from made_sections import make_slide_pixels
from napari_stenhance.errors import InputError
from napari_stenhance.results.runs import field_run
from napari_stenhance.running.job import Event, Note, Progress
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.hdf5 import save_h5ad
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from napari_stenhance.tasks.kept_model import KeptModel
from napari_stenhance.tasks.train import TrainOptions, train

EXPORT = """
import sys
from pathlib import Path
import anndata as ad, numpy as np
from napari_stenhance.errors import InputError
from napari_stenhance.results.export_format import export_table
rows = int(sys.argv[2])
values = np.random.default_rng(0).random((rows, 300)).astype("f4")
table = ad.AnnData(values, uns={"a": {"b": np.arange(9)}}, obsm={"x": values[:, :2]})
try:
    export_table(table, Path(sys.argv[1]))
except InputError as error:
    print(error)
    sys.exit(2)
"""


EXTRACT = """
import sys
import torch
from pathlib import Path
from napari_stenhance.errors import InputError
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import CropLayout, FeatureSettings
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
cache = Cache(Path(sys.argv[2]))
slide = Slide.open(sys.argv[1], mpp=0.8, cache=cache)
layout = CropLayout((60.0,), 25.0)
encoder = find_encoder("timm:test_vit?pretrained=false")
settings = FeatureSettings(encoder, torch.device("cpu"), cache, crops=layout)
try:
    open_features(slide, settings, Job()).extract()
except InputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_features_on_a_full_disk_are_one_sentence(
    make_slide: Callable[..., Slide], cache: Cache, tmp_path: Path
) -> None:
    """What is missing is made when there is room."""
    slide = make_slide(make_slide_pixels((600, 500), 3)[0], mpp=0.8)
    arguments = (slide.path, cache.root)
    for number, room in enumerate((4_000, None)):
        words = tmp_path / f"words{number}"
        with Program(EXTRACT, *arguments, words=words, largest_file=room) as program:
            assert program.wait() == (2 if room else 0), program.stderr
        assert program.stderr == ""
        said = f"{cache.root}: this cannot be written (File too large); free some space"
        assert program.stdout.startswith(said if room else "")
    assert not list(cache.root.rglob("*.partial"))


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize("rows", [20, 2000])
def test_an_export_to_a_full_disk_is_one_sentence(rows: int, tmp_path: Path) -> None:
    """Also if the disk is full only when the file is closed."""
    folder = tmp_path / "full"
    folder.mkdir()
    out = folder / "t.h5ad"
    words = tmp_path / "words"
    with Program(EXPORT, out, rows, words=words, largest_file=20_000) as program:
        assert program.wait() == 2, program.stderr
    assert program.stderr == ""
    assert program.stdout == (
        f"{out}: this cannot be written (File too large); free some space, or choose another "
        "place.\n"
    )
    assert list(folder.iterdir()) == []


def test_an_h5ad_is_as_anndata_writes_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"s{n}" for n in range(30)]
    table = ad.AnnData(
        sp.csr_matrix(rng.poisson(1, (30, 20)).astype("f4")),
        obs=pd.DataFrame({"a": ["x", "y"] * 15, "b": range(30)}, index=names),
        layers={"log": rng.random((30, 20)).astype("f4")},
        obsm={"spatial": rng.random((30, 2))},
        uns={"stenhance": {"unit": "pixel", "pitch_um": 1.5}, "colours": np.array(["#f", "#0"])},
    )  # fmt: skip
    save_h5ad(table.copy(), tmp_path / "ours.h5ad", compression="gzip")
    table.copy().write_h5ad(tmp_path / "theirs.h5ad", compression="gzip")
    found: list[dict[str, Any]] = []
    for name in ("ours", "theirs"):
        with h5py.File(tmp_path / f"{name}.h5ad") as file:
            content: dict[str, Any] = {"/": dict(file.attrs)}
            file.visititems(lambda path, node, to=content: to.update({path: _plain(node)}))
            found.append(content)
    np.testing.assert_equal(found[0], found[1])


def _plain(node: h5py.Group | h5py.Dataset) -> Any:
    attributes = {key: str(value) for key, value in node.attrs.items() if key != "_index"}
    if isinstance(node, h5py.Group):
        return attributes
    return attributes, node[()], str(node.dtype), node.compression


def test_a_model_that_cannot_be_saved_is_kept(
    small: Path, session_cache: st.Cache, tmp_path: Path
) -> None:
    """No room for it in the result: a file lies where the folder of models would be made."""
    out = tmp_path / "r.stenhance.zarr"
    models = out / "files" / "models"
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.stage == "Training" and event.done == event.total:
            models.touch()

    options = EnhanceOptions(
        sections=small / "one.h5ad", out=out, epochs=2, genes="hvg:5", device="cpu"
    )
    with pytest.raises(InputError) as failed:
        enhance(options, st.Job(listener=listen), session_cache)
    (kept,) = (session_cache.root / "models").iterdir()
    assert str(failed.value) == (
        f"{models}: this cannot be written (File exists); free some space, or choose another "
        f"place; the trained model is kept in {kept}, from where the same command goes on."
    )
    trained = (kept / "weights.safetensors").read_bytes()
    models.unlink()
    events.clear()
    (result,) = enhance(options, st.Job(listener=events.append), session_cache)
    assert [e for e in events if isinstance(e, Progress) and e.stage == "Training"] == []
    notes = [event.text for event in events if isinstance(event, Note)]
    assert f"The model was trained already, and kept in {kept}." in notes
    model = result.model_folder(field_run(result).name)
    assert (model / "weights.safetensors").read_bytes() == trained
    assert not kept.exists()


def test_what_train_cannot_save_is_kept(
    small: Path, session_cache: st.Cache, tmp_path: Path
) -> None:
    (tmp_path / "place").touch()
    options = TrainOptions(
        sections=small / "one.h5ad", out=tmp_path / "place" / "m", epochs=1, genes="hvg:6",
        device="cpu",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"cannot be written .* the trained model is kept in"):
        train(options, None, session_cache)
    (tmp_path / "place").unlink()
    events: list[Event] = []
    trained = train(options, st.Job(listener=events.append), session_cache)
    assert [e for e in events if isinstance(e, Progress) and e.stage == "Training"] == []
    assert trained.folder == tmp_path / "place" / "m"
    assert not any((session_cache.root / "models").iterdir())


def test_where_no_model_can_be_kept_it_is_said(tmp_path: Path) -> None:
    class Fitted:
        def save(self, folder: Path) -> None:
            (folder / "weights").write_bytes(b"1")

    (tmp_path / "file").touch()
    full, room = tmp_path / "file" / "model", tmp_path / "room"

    def fail(*places: Path) -> str:
        with pytest.raises(InputError) as failed:  # noqa: PT012
            with KeptModel(places).unless_saved(Fitted()):  # type: ignore[arg-type]
                msg = "r: this cannot be written (No space left on device); free some space."
                raise InputError(msg)
        return str(failed.value)

    assert f"the trained model is lost, for there is no room in {full} either." in fail(full)
    assert f"free some space; the trained model is kept in {room}, from" in fail(full, room)
