"""Kaiko's vision transformers of five sizes, and Midnight, all trained on pathology."""

from __future__ import annotations

from dataclasses import replace

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import HALF, EncoderNetwork

_REPO = "1aurent/{}.kaiko_ai_towards_large_pathology_fms"
KAIKO_S16 = EncoderNetwork(
    name="kaiko-s16",
    arch="vit_small_patch16_224",
    side_px=224,
    mean=HALF,
    std=HALF,
    licence="Kaiko Non-Commercial Public License v1",
    commercial=False,
    terms="What is made from it must be shared under the same licence.",
    citation=(
        "Aben et al., Towards large-scale training of pathology foundation models, "
        "arXiv:2404.15217 (2024)"
    ),
    repos=(_REPO.format("vit_small_patch16_224"),),
    parameters=21_665_664,
    trained=True,
)
KAIKO_S8 = replace(
    KAIKO_S16,
    name="kaiko-s8",
    arch="vit_small_patch8_224",
    repos=(_REPO.format("vit_small_patch8_224"),),
    parameters=21_670_272,
)
KAIKO_B16 = replace(
    KAIKO_S16,
    name="kaiko-b16",
    arch="vit_base_patch16_224",
    repos=(_REPO.format("vit_base_patch16_224"),),
    parameters=85_798_656,
)
KAIKO_B8 = replace(
    KAIKO_S16,
    name="kaiko-b8",
    arch="vit_base_patch8_224",
    repos=(_REPO.format("vit_base_patch8_224"),),
    parameters=85_807_872,
)
KAIKO_L14 = replace(
    KAIKO_S16,
    name="kaiko-l14",
    arch="vit_large_patch14_reg4_dinov2",
    repos=(_REPO.format("vit_large_patch14_reg4_dinov2"),),
    parameters=304_370_688,
)
MIDNIGHT = EncoderNetwork(
    name="midnight",
    arch="vit_giant_patch14_dinov2",
    side_px=224,
    mean=HALF,
    std=HALF,
    licence="MIT",
    commercial=True,
    citation=(
        "Karasikov et al., Training state-of-the-art pathology foundation models with orders of "
        "magnitude less data, MICCAI 2025, LNCS 15967:573-583, arXiv:2504.05186"
    ),
    vector="class and mean",
    resizing="plain",
    repos=("kaiko-ai/midnight",),
    parameters=1_136_479_232,
    trained=True,
)
ENCODER = networks_entry(KAIKO_S16, KAIKO_S8, KAIKO_B16, KAIKO_B8, KAIKO_L14, MIDNIGHT)
