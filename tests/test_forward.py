"""A network on a device: batches, memory that does not do, precision."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_stenhance.errors import InferenceError
from napari_stenhance.features.cropping import Crops
from napari_stenhance.features.encoders.uni import UNI
from napari_stenhance.features.forward import Forward, Normalisation, Output
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.features.vit import TimmEncoder
from test_vit import CPU, encoded, noise


def forward(output: Output, **more: Any) -> Forward:
    colours = Normalisation((0.5,) * 3, (0.5,) * 3)
    about: Any = {"precisions": ("float32",), **more}
    return Forward(torch.nn.Flatten, "toy", 4, colours, CPU, output, **about)


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
