"""DINOv2 and DINOv3, vision transformers trained on pictures of anything."""

from __future__ import annotations

from dataclasses import replace

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import IMAGENET_MEAN, IMAGENET_STD, EncoderNetwork

DINOV2_S = EncoderNetwork(
    name="dinov2-s",
    arch="vit_small_patch14_reg4_dinov2",
    side_px=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    licence="Apache-2.0",
    commercial=True,
    citation=(
        "Oquab et al., DINOv2: learning robust visual features without supervision, "
        "arXiv:2304.07193 (2023); Darcet et al., Vision transformers need registers, "
        "arXiv:2309.16588 (2023)"
    ),
    repos=("timm/vit_small_patch14_reg4_dinov2.lvd142m",),
    parameters=22_057_344,
    trained=True,
)
DINOV2_B = replace(
    DINOV2_S,
    name="dinov2-b",
    arch="vit_base_patch14_reg4_dinov2",
    repos=("timm/vit_base_patch14_reg4_dinov2.lvd142m",),
    parameters=86_582_016,
)
DINOV2_L = replace(
    DINOV2_S,
    name="dinov2-l",
    arch="vit_large_patch14_reg4_dinov2",
    repos=("timm/vit_large_patch14_reg4_dinov2.lvd142m",),
    parameters=304_370_688,
)
DINOV3_S = replace(
    DINOV2_S,
    name="dinov3-s",
    arch="vit_small_patch16_dinov3",
    licence="DINOv3 License",
    commercial=None,
    citation="Siméoni et al., DINOv3, arXiv:2508.10104 (2025)",
    repos=("timm/vit_small_patch16_dinov3.lvd1689m",),
    parameters=21_586_944,
)
DINOV3_B = replace(
    DINOV3_S,
    name="dinov3-b",
    arch="vit_base_patch16_dinov3",
    repos=("timm/vit_base_patch16_dinov3.lvd1689m",),
    parameters=85_641_216,
)
DINOV3_L = replace(
    DINOV3_S,
    name="dinov3-l",
    arch="vit_large_patch16_dinov3",
    repos=("timm/vit_large_patch16_dinov3.lvd1689m",),
    parameters=303_079_424,
)
ENCODER = networks_entry(DINOV2_S, DINOV2_B, DINOV2_L, DINOV3_S, DINOV3_B, DINOV3_L)
