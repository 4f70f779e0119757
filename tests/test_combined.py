"""Several encoders joined by +."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import napari_stenhance as st
from made_sections import make_slide_pixels
from napari_stenhance.errors import InputError
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import CropLayout, FeatureSettings, FeatureSource
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache

MakeSlide = Callable[..., Slide]
CPU = torch.device("cpu")
VIT = "timm:test_vit?pretrained=false"
LAYOUT = CropLayout((60.0, 200.0), 50.0)


def test_names_and_identities_are_joined(tmp_path: Path) -> None:
    both = find_encoder(f"stain+{VIT}")
    assert both.name == "stain+timm:test_vit?pretrained=false"
    assert both.title == "stain+timm-test_vit"
    assert both.identity() == "+".join(find_encoder(one).identity() for one in ("stain", VIT))
    assert find_encoder(f"stain + {VIT}").name == both.name
    # A file's name may hold a +, and what follows it is no encoder.
    save_file({"a": torch.zeros(1)}, tmp_path / "a+b.bin")
    there = find_encoder(f"timm:test_vit?weights={tmp_path / 'a+b.bin'}+stain")
    assert there.name == "timm:test_vit+stain"
    assert there.parts[0].identity().startswith("timm:test_vit")
    for wrong, said in (
        ("stain+stain", "stain is given twice"),
        (
            "stain+nothing",
            r"Encoder nothing: there is no such encoder; choose one of .*stain, timm.*join some",
        ),
        ("stain+", r"Encoder stain\+: there is no such encoder"),
    ):
        with pytest.raises(InputError, match=said):
            find_encoder(wrong)


@pytest.mark.parametrize("crops", [None, LAYOUT])
def test_vectors_are_joined_each_standardised_by_itself(
    make_slide: MakeSlide, cache: Cache, crops: CropLayout | None
) -> None:
    slide = make_slide(make_slide_pixels((500, 400), 2)[0], mpp=0.8)

    def opened(encoder: str) -> FeatureSource:
        settings = FeatureSettings(find_encoder(encoder), CPU, cache, crops=crops)
        features = open_features(slide, settings, Job())
        features.extract()
        return features

    stain, vit, both = opened("stain"), opened(VIT), opened(f"stain+{VIT}")
    assert both.grid == stain.grid == vit.grid
    assert both.dim == stain.dim + vit.dim
    assert both.key == f"{stain.key}+{vit.key}"
    assert both.doubts == (*stain.doubts, *vit.doubts) != ()
    row, column = (n[::7] for n in np.nonzero(both.tissue))
    sizes = 1 if crops is None else 2
    assert both.groups == (144, 18, vit.dim // sizes) * sizes

    def split(values: Any) -> list[Any]:
        """Part the vectors of each size, and of each size those of each encoder."""
        by_size = values.reshape(len(values), sizes, -1)
        return np.split(by_size, [stain.dim // sizes], axis=2)

    for raw in (False, True):
        values = both.superpixels(row, column, raw=raw)
        for part, alone in zip(split(values), (stain, vit), strict=True):
            expected = alone.superpixels(row, column, raw=raw)
            np.testing.assert_array_equal(part.reshape(len(row), -1), expected)
        xy_um = both.grid.centres_um(row, column)
        np.testing.assert_array_equal(both.at(xy_um, raw=raw), values)
    if crops is None:  # averages over crops vary less
        for part in split(both.superpixels(row, column)):
            assert 0.5 < np.median(part.std(axis=0)) < 2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pixel2gene", "spamcaf"])
def test_methods_learn_from_both(small: Path, tmp_path: Path, method: str) -> None:
    more: dict[str, Any] = {} if method == "pixel2gene" else {"crops": "60,150", "pitch": 75.0}
    result = st.enhance(
        small / "one.h5ad", out=tmp_path / "one.stenhance.zarr", encoder=f"stain+{VIT}",
        method=method, genes=["G0", "G20"], epochs=2, device="cpu", **more,
    )  # fmt: skip
    assert result.runs == (f"{method}-stain+timm-test_vit-robust",)
    other = st.Model.load(result.path).predict(
        small / "two.h5ad", out=tmp_path / "two.stenhance.zarr"
    )
    assert np.isfinite(other["G20"]).any()
