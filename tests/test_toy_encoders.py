"""Encoders that other packages add: one file each, and an entry point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_stenhance as st
from napari_stenhance.cli import app
from napari_stenhance.errors import InputError
from napari_stenhance.running.extensions import extensions

SUPERPIXELS = '''
"""The mean colour of superpixels of 16 µm."""
import numpy as np
from napari_stenhance.features.registry import Encoder

class ToyColours:
    name, dim, pitch_um, mpp, window_px, halo_px = "toycolours", 3, 16.0, 2.0, 8, 0
    at_once = None

    def fingerprint(self):
        return "toycolours1"

    def doubts(self):
        return ("Toys see colours only.",)

    def encode(self, pixels):
        rows, columns = (n // 8 for n in pixels.shape[:2])
        return pixels.reshape(rows, 8, columns, 8, 3).mean(axis=(1, 3)).astype(np.float32)

ENCODER = Encoder(
    "toycolours",
    lambda: "toycolours1",
    superpixels=lambda device: lambda slide: ToyColours(),
    prepare=lambda job: job.note("Toys are wound up."),
)
'''
CROPS = '''
"""The mean and the spread of the colours of crops."""
import numpy as np
from napari_stenhance.features.registry import Encoder

class ToyCrops:
    name, dim, side_px, batch, at_once = "toycrops", 6, 8, 32, None

    def fingerprint(self):
        return "toycrops1"

    def doubts(self, mpp, crop_um):
        return ()

    def encode(self, crops):
        crops = np.asarray(crops)
        parts = crops.mean(axis=(1, 2)), crops.std(axis=(1, 2))
        return np.concatenate(parts, axis=1).astype(np.float32)

ENCODER = Encoder("toycrops", lambda: "toycrops1", crops=lambda device: ToyCrops())
'''
LACKING = '''
"""An encoder that lacks something."""
from napari_stenhance.errors import InputError
from napari_stenhance.features.registry import Encoder

def identity():
    raise InputError("Encoder toyweights: it lacks a toy; buy one.")

ENCODER = Encoder("toyweights", identity)
'''
QUICK = ("--genes", "G0,G20", "--epochs", "2", "--device", "cpu")


@pytest.fixture(autouse=True)
def _toys(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("toys")
    (folder / "toy_superpixel_encoder.py").write_text(SUPERPIXELS, "utf-8")
    (folder / "toy_crop_encoder.py").write_text(CROPS, "utf-8")
    (folder / "toy_lacking_encoder.py").write_text(LACKING, "utf-8")
    info = folder / "toy_encoders-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: toy-encoders\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(
        "[napari_stenhance.features.encoders]\n"
        "colours = toy_superpixel_encoder:ENCODER\ncrops = toy_crop_encoder:ENCODER\n"
        "lacking = toy_lacking_encoder:ENCODER\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(folder)
    extensions.cache_clear()
    yield
    extensions.cache_clear()


def run(*arguments: object, code: int = 0) -> str:
    ran = CliRunner().invoke(app, [str(a) for a in arguments])
    assert ran.exit_code == code, ran.output + ran.stderr
    return ran.stderr


def test_superpixels_of_another_package(small_files: list[Path], tmp_path: Path) -> None:
    """Learned from, predicted on another slide, and averaged where a method sees crops."""
    one, two = small_files
    out = tmp_path / "one.stenhance.zarr"
    command = ("enhance", one, "--encoder", "toycolours", "--out", out, *QUICK)
    said, again = run(*command), run(*command)
    assert "Toys see colours only." in said
    assert "already complete" in again
    # Only where anything is encoded.
    assert "Toys are wound up." in said
    assert "wound up" not in again
    result = st.Result.open(out)
    image = result["G0"]
    assert result.runs == ("pixel2gene-toycolours-robust",)
    assert float(np.diff(image.x)[0]) == pytest.approx(16.0)
    assert np.isfinite(image).any()
    with pytest.raises(
        InputError, match=r"stain makes superpixels of 8 µm and toycolours of 16 µm"
    ):
        st.enhance(one, out=tmp_path / "x.stenhance.zarr", encoder="stain+toycolours", epochs=1)
    run("predict", out, "--on", two, "--out", tmp_path / "two.stenhance.zarr")
    run("enhance", one, "--method", "histosge", "--pitch", 75, "--encoder", "toycolours",
        "--out", out, *QUICK)  # fmt: skip
    assert st.Result.open(out).runs[-1] == "histosge-toycolours-robust"


def test_crops_of_another_package(small_files: list[Path], tmp_path: Path) -> None:
    one, two = small_files
    result = st.enhance(
        one, out=tmp_path / "one.stenhance.zarr", method="spamcaf", crops="60,150", pitch=75.0,
        encoder="toycrops", genes=["G0", "G20"], epochs=2, device="cpu",
    )  # fmt: skip
    assert result.runs == ("spamcaf-toycrops-robust",)
    other = st.Model.load(tmp_path / "one.stenhance.zarr").predict(
        two, out=tmp_path / "two.stenhance.zarr"
    )
    assert np.isfinite(other["G20"]).any()
    with pytest.raises(InputError, match="toycrops: it encodes crops"):
        st.enhance(one, out=tmp_path / "x.stenhance.zarr", encoder="toycrops", epochs=1)


def test_what_another_package_says_that_it_lacks_is_listed() -> None:
    found = {one.name: one for one in st.weights()}
    assert found["toycolours"].here
    lacking = "Encoder toyweights: it lacks a toy; buy one."
    assert (found["toyweights"].here, found["toyweights"].needs) == (False, lacking)
    assert [one.here for one in st.weights("toycrops")] == [True]
    ran = CliRunner().invoke(app, ["weights", "toyweights"])
    assert ran.stdout.splitlines() == ["toyweights: not on this machine", lacking]
    with pytest.raises(InputError, match="it lacks a toy"):
        st.weights("toyweights", yes=True)


def test_what_there_is_is_listed(small_files: list[Path], tmp_path: Path) -> None:
    said = run("enhance", small_files[0], "--encoder", "toy", "--out", tmp_path / "x", code=2)
    assert (
        "virchow2, toycolours, toycrops, toyweights, or join some with + (--encoder)."
        in " ".join(said.split())
    )
