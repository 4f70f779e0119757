"""What belongs to whoever calls us stays as it was: random states, threads, switches, warnings."""

from __future__ import annotations

import contextlib
import pickle
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch

from bands import banded, write_spots
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.methods.sinca.reference.first import predict_held_out_first
from napari_stenhance.methods.sinca.reference.training import predict_held_out
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded
from napari_stenhance.tasks.domains import DomainsOptions, domains
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from napari_stenhance.tasks.export import ExportOptions, export
from napari_stenhance.tasks.impute import ImputeOptions, impute
from napari_stenhance.tasks.predict import PredictOptions, predict
from napari_stenhance.tasks.write import WriteOptions, write
from test_cells import make_cells, make_spots
from test_sinca_reference import FIRST, TINY

CPU = torch.device("cpu")
QUICK: dict[str, Any] = {"epochs": 1, "device": "cpu"}


def host_state() -> dict[str, object]:
    """Return what others in this process draw from, and what they may have set."""
    cudnn = torch.backends.cudnn
    # Asking starts numba's threads, which sets those of OpenMP: first of all.
    numba.get_num_threads()
    state: dict[str, object] = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "numba": numba.get_num_threads(),
        "switches": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.get_float32_matmul_precision(),
            (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
        ),
        "errors": np.geterr(),
        "warnings": list(warnings.filters),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state().numpy().tobytes()
    return state


def stays(call: Callable[[], object]) -> None:
    """Call something, and compare what is the host's with what it was."""
    torch.rand(3)
    np.random.random(3)  # noqa: NPY002
    random.random()
    before = host_state()
    call()
    after = host_state()
    assert {n: (before[n], after[n]) for n in before if before[n] != after[n]} == {}


def learn(section: Path, out: Path, **options: Any) -> object:
    return enhance(EnhanceOptions((section,), out, **QUICK, **options))


@pytest.fixture(scope="module", autouse=True)
def learned(small_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result; and what libraries do to the warnings as they are imported is done."""
    out = tmp_path_factory.mktemp("host") / "one.stenhance.zarr"
    learn(small_files[0], out)
    return out


@pytest.mark.parametrize(
    "options",
    [
        {"method": "pixel2gene"},
        {"method": "histosge"},
        {"method": "histosge", "preset": "reference", "genes": "hvg:5"},
        {"method": "pixel2gene", "preset": "istar", "genes": "hvg:5"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_enhance(options: dict[str, str], small_files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "one.stenhance.zarr"
    region = tmp_path / "region.geojson"
    region.write_text(
        '{"type": "Polygon", "coordinates": '
        "[[[230, 300], [300, 300], [300, 370], [230, 370], [230, 300]]]}"
    )
    stays(lambda: learn(small_files[0], out, region=region, **options))


def test_predict_export_and_write(learned: Path, small_files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "two.stenhance.zarr"
    stays(lambda: predict(PredictOptions(learned, (small_files[1],), out, device="cpu")))
    stays(lambda: export(ExportOptions(learned, tmp_path / "a.h5ad", at_spots=small_files[0])))
    stays(lambda: write(WriteOptions(learned, "G3")))


def test_impute(tmp_path: Path) -> None:
    files = tmp_path / "spots.h5ad", tmp_path / "cells.h5ad"
    make_spots().write_h5ad(files[0])
    make_cells().write_h5ad(files[1])
    stays(lambda: impute(ImputeOptions(*files, tmp_path / "a.stenhance.zarr", **QUICK)))


def test_published_imputation() -> None:
    spots, cells = make_spots(), make_cells()[:, :60]
    inputs = spots.X.tocsr(), cells.X.tocsr(), spots.obsm["spatial"], np.arange(5)
    options: dict[str, Any] = {"leak": False, "seed": 1, "device": CPU, "job": Job()}
    stays(lambda: predict_held_out(*inputs, TINY, **options))
    stays(lambda: predict_held_out_first(*inputs, FIRST, **options))


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["robust", "reference"])
def test_domains(preset: str, tmp_path: Path) -> None:
    section = write_spots(tmp_path, banded())
    options: dict[str, Any] = {"n_domains": 4, "preset": preset, **QUICK}
    stays(lambda: domains(DomainsOptions((section,), tmp_path / "a.stenhance.zarr", **options)))


def test_networks_of_encoders() -> None:
    network = EncoderNetwork("tiny", "vit_tiny_patch16_224", 224, (0.5,) * 3, (0.5,) * 3, "")
    stays(network.build)


def test_a_seed_gives_what_torch_gives_with_it_and_ends_with_an_error_too() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = torch.rand(4)
    drawn = []

    def fails() -> None:
        with contextlib.suppress(ValueError), seeded(5, CPU):
            drawn.append(torch.rand(4))
            raise ValueError

    stays(fails)
    torch.testing.assert_close(drawn[0], expected, rtol=0, atol=0)
