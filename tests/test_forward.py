"""A network on a device: batches, memory that does not do, precision."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_stenhance.errors import DeviceMemoryError, InferenceError
from napari_stenhance.features.cropping import Crops
from napari_stenhance.features.dense import DenseNetwork
from napari_stenhance.features.encoders.uni import UNI
from napari_stenhance.features.forward import Forward
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.features.registry import Encoder
from napari_stenhance.features.replica import Normalisation, Output
from napari_stenhance.features.source import CropLayout, FeatureSettings
from napari_stenhance.features.vit import TimmEncoder
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.device import devices_like
from napari_stenhance.running.prefetch import prefetch
from napari_stenhance.storage.cache import Cache
from test_cli import run
from test_vit import CPU, encoded, noise


def forward(output: Output, devices: Sequence[torch.device] = (CPU,), **more: Any) -> Forward:
    colours = Normalisation((0.5,) * 3, (0.5,) * 3)
    about: Any = {"precisions": ("float32",), **more}
    return Forward(torch.nn.Flatten, "toy", 4, colours, devices, output, **about)


def test_memory_that_does_not_do_halves_the_batch() -> None:
    tried = []

    def mean(_: Any, pictures: torch.Tensor) -> torch.Tensor:
        tried.append(len(pictures))
        if len(pictures) > 2:
            raise torch.OutOfMemoryError
        return pictures.mean(dim=(2, 3))

    crops = noise(11, 4)
    toy = forward(mean)
    assert toy.batch == 8
    found = toy(Crops.from_array(crops))
    np.testing.assert_allclose(found, crops.mean(axis=(1, 2)) / 127.5 - 1, atol=1e-6)
    assert toy.batch == 2
    # Nothing is done twice, and what comes next starts with what does.
    assert tried == [8, 4, *[2] * 6]
    tried.clear()
    np.testing.assert_array_equal(toy(Crops.from_array(crops[:3])), found[:3])
    assert tried == [2, 2]


def test_memory_that_does_not_do_for_one_is_said() -> None:
    def fail(_: Any, pictures: torch.Tensor) -> torch.Tensor:
        msg = f"out of memory with {len(pictures)}"
        raise torch.OutOfMemoryError(msg)

    with pytest.raises(InferenceError, match=r"Encoding with toy failed .* out of memory with 1"):
        forward(fail)(Crops.from_array(noise(3, 4)))


def test_memory_that_does_not_do_may_be_said_in_words() -> None:
    """Apple's GPUs, and CUDA's libraries, have no class for it."""

    def mean(_: Any, pictures: torch.Tensor) -> torch.Tensor:
        if len(pictures) > 4:
            msg = "MPS backend out of memory (MPS allocated: 1.00 GB)"
            raise RuntimeError(msg)
        return pictures.mean(dim=(2, 3))

    toy = forward(mean)
    assert len(toy(Crops.from_array(noise(8, 4)))) == 8
    assert toy.batch == 4


def test_a_gpu_that_cannot_take_one_picture_is_known_before_anything_is_encoded() -> None:
    def fail(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(DeviceMemoryError, match="Loading toy failed"):
        forward(fail, [torch.device("meta")])


def test_batches_are_shared_out_and_keep_their_order() -> None:
    # Nobody passes who is alone.
    both, copies = threading.Barrier(2, timeout=60), set()

    def mean(model: Any, pictures: torch.Tensor) -> torch.Tensor:
        copies.add(id(model))
        both.wait()
        return pictures.mean(dim=(2, 3))

    toy, crops = forward(mean, [CPU, CPU]), noise(64, 4)
    assert toy.at_once == 2
    parts = Crops.from_array(crops).parts(toy.batch)
    found = np.concatenate(list(prefetch(toy, parts, toy.at_once)))
    np.testing.assert_allclose(found, crops.mean(axis=(1, 2)) / 127.5 - 1, atol=1e-6)
    assert copies == {id(replica.model) for replica in toy.replicas}
    assert len(copies) == 2


def test_gpus_that_are_alike_share(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["H100", "H100", "T4"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", names.__getitem__)
    assert [d.index for d in devices_like(torch.device("cuda"))] == [0, 1]
    assert devices_like(torch.device("cuda:2")) == (torch.device("cuda:2"),)
    assert devices_like(CPU) == (CPU,)


@pytest.mark.parametrize("crops", [CropLayout((112.0,), 25.0), None])
def test_what_does_not_fit_goes_to_the_cpu_if_that_was_left_to_us(
    crops: CropLayout | None, tmp_path: Path
) -> None:
    asked = []

    def load(device: torch.device) -> Any:
        asked.append(device.type)
        if device.type != "cpu":
            msg = "Loading toy failed"
            raise DeviceMemoryError(msg)
        return lambda _slide: "encoder"

    toy = Encoder("toy", lambda: "toy", superpixels=load, crops=load)
    settings = FeatureSettings(toy, torch.device("cuda"), Cache(tmp_path), crops=crops)
    what = "crop_encoder" if crops else "superpixel_encoder"
    with pytest.raises(DeviceMemoryError):
        getattr(settings, what)
    _, (doubt,) = getattr(replace(settings, or_cpu=True), what)
    assert doubt == "The memory of the GPU is too small for toy: it ran on the CPU."
    assert asked == ["cuda", "cuda", "cpu"]


def test_the_result_says_that_a_network_went_to_the_cpu(
    small_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = DenseNetwork.__init__
    failed = []

    def full_at_first(self: DenseNetwork, *about: Any) -> None:
        if not failed:
            failed.append(about)
            msg = "Loading toy failed on this device: CUDA out of memory"
            raise DeviceMemoryError(msg)
        load(self, *about)

    monkeypatch.setattr(DenseNetwork, "__init__", full_at_first)
    learn = ("enhance", small_files[0], "--encoder", "timm:test_vit?pretrained=false",
             "--epochs", 1, "--out", tmp_path / "r")  # fmt: skip
    assert "CUDA out of memory" in run(*learn, "--device", "cpu", code=1).stderr
    failed.clear()
    said = "The memory of the GPU is too small for timm:test_vit?pretrained=false: it ran on the"
    assert said in run(*learn, "--device", "auto").stderr
    result = ResultFolder.open(tmp_path / "r")
    assert any(said in doubt for doubt in result.run_attributes(result.runs[0])["doubts"])


def test_half_precision_that_overflows_is_not_used() -> None:
    def large(_: Any, pictures: torch.Tensor) -> torch.Tensor:
        return (pictures * 1e30).mean(dim=(2, 3)) * 1e5

    both: Any = ("float16", "float32")
    assert forward(large, precisions=both).precision == "float32"
    assert forward(lambda _, p: p.mean(dim=(2, 3)), precisions=both).precision == "float16"


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("arch", ["vit", "resnet"])
def test_a_gpu_agrees_with_the_cpu(cuda: torch.device, arch: str, precision: Any) -> None:
    network = replace(UNI, options=UNI.options | {"depth": 4})
    if arch == "resnet":
        network = EncoderNetwork(
            "x", "resnet18", 224, UNI.mean, UNI.std, licence="none", options={}
        )
    crops = noise(300, 224)
    cpu, gpu = (
        TimmEncoder(network, "x", device, None, precision=p)
        for device, p in ((CPU, "float32"), (cuda, precision))
    )
    assert cpu.fingerprint() != gpu.fingerprint()
    one, two = encoded(cpu, crops[-40:]), encoded(gpu, crops)
    error = np.linalg.norm(two[-40:] - one) / np.linalg.norm(one)
    assert error < (0.02 if precision == "bfloat16" else 1e-4)
    # A batch that is filled up, and one by several threads.
    np.testing.assert_array_equal(encoded(gpu, crops[256:]), two[256:])
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(lambda _: encoded(gpu, crops), range(8)):
            np.testing.assert_array_equal(again, two)


@pytest.mark.gpu
def test_a_gpu_that_is_full_takes_fewer_at_a_time(cuda: torch.device) -> None:
    network = replace(UNI, options=UNI.options | {"depth": 2})
    crops = noise(300, 224)
    gpu = TimmEncoder(network, "x", cuda, None)
    whole = encoded(gpu, crops)
    assert gpu.batch == 256
    total = torch.cuda.get_device_properties(cuda).total_memory
    small = TimmEncoder(network, "x", cuda, None)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(cuda) + 4e8) / total)
    try:
        part = encoded(small, crops)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert small.batch < 256
    assert np.linalg.norm(part - whole) / np.linalg.norm(whole) < 1e-2
