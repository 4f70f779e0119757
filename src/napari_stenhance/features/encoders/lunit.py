"""Lunit's vision transformers, trained on pathology by DINO."""

from __future__ import annotations

from dataclasses import replace

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import EncoderNetwork

LUNIT_S16 = EncoderNetwork(
    name="lunit-s16",
    arch="vit_small_patch16_224",
    side_px=224,
    mean=(0.70322989, 0.53606487, 0.66096631),
    std=(0.21716536, 0.26081574, 0.20723464),
    licence="Lunit Inc. Public License",
    commercial=False,
    terms="The licence may be revoked.",
    citation=(
        "Kang et al., Benchmarking self-supervised learning on diverse pathology datasets, "
        "CVPR 2023, arXiv:2212.04690"
    ),
    repos=("1aurent/vit_small_patch16_224.lunit_dino",),
    parameters=21_665_664,
    trained=True,
)
LUNIT_S8 = replace(
    LUNIT_S16,
    name="lunit-s8",
    arch="vit_small_patch8_224",
    repos=("1aurent/vit_small_patch8_224.lunit_dino",),
    parameters=21_670_272,
)
ENCODER = networks_entry(LUNIT_S16, LUNIT_S8)
