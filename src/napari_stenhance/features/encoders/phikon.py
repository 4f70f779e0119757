"""Phikon and Phikon-v2, vision transformers trained on pathology."""

from __future__ import annotations

from dataclasses import replace

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import IMAGENET_MEAN, IMAGENET_STD, EncoderNetwork

PHIKON = EncoderNetwork(
    name="phikon",
    arch="vit_base_patch16_224",
    side_px=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    licence="Owkin non-commercial licence",
    commercial=False,
    citation=(
        "Filiot et al., Scaling self-supervised learning for histopathology with masked image "
        "modeling, medRxiv 2023.07.21.23292757 (2023)"
    ),
    resizing="plain",
    # The second is a copy as timm lays it out.
    repos=("owkin/phikon", "1aurent/vit_base_patch16_224.owkin_pancancer"),
    parameters=85_798_656,
    trained=True,
)
PHIKON_V2 = replace(
    PHIKON,
    name="phikon-v2",
    arch="vit_large_patch16_224",
    citation=(
        "Filiot et al., Phikon-v2, a large and public feature extractor for biomarker prediction, "
        "arXiv:2409.09173 (2024)"
    ),
    options={"init_values": 1.0},
    repos=("owkin/phikon-v2",),
    parameters=303_350_784,
)
ENCODER = networks_entry(PHIKON, PHIKON_V2)
