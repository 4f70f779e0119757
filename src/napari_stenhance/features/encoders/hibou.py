"""Hibou-B and Hibou-L, vision transformers trained on pathology."""

from __future__ import annotations

from dataclasses import replace

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import EncoderNetwork

HIBOU_B = EncoderNetwork(
    name="hibou-b",
    arch="vit_base_patch14_reg4_dinov2",
    side_px=224,
    mean=(0.7068, 0.5755, 0.7220),
    std=(0.1950, 0.2316, 0.1816),
    licence="Apache-2.0",
    commercial=True,
    citation=(
        "Nechaev et al., Hibou: a family of foundational vision transformers for pathology, "
        "arXiv:2406.05074 (2024)"
    ),
    # Twice 2,048 / 768, rounded up, since what is gated must be even.
    options={"mlp_ratio": 5.33334},
    swiglu=True,
    repos=("histai/hibou-b",),
    parameters=85_739_520,
    trained=True,
)
HIBOU_L = replace(
    HIBOU_B,
    name="hibou-l",
    arch="vit_large_patch14_reg4_dinov2",
    # 5,472 / 1,024
    options={"mlp_ratio": 5.34375},
    repos=("histai/hibou-L",),
    parameters=303_657_216,
    gated=True,
)
ENCODER = networks_entry(HIBOU_B, HIBOU_L)
