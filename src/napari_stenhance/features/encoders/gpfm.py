"""GPFM, a vision transformer distilled from several that were trained on pathology."""

from __future__ import annotations

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import IMAGENET_MEAN, IMAGENET_STD, EncoderNetwork

GPFM = EncoderNetwork(
    name="gpfm",
    arch="vit_large_patch14_dinov2",
    side_px=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    licence="CC-BY-NC-ND-4.0",
    commercial=False,
    citation=(
        "Ma et al., A generalizable pathology foundation model using a unified knowledge "
        "distillation pretraining framework, Nature Biomedical Engineering (2025), "
        "doi:10.1038/s41551-025-01488-4, arXiv:2407.18449"
    ),
    options={"init_values": 1e-5},
    repos=("majiabo/GPFM",),
    files=("GPFM.pth",),
    parameters=303_227_904,
    trained=True,
)
ENCODER = networks_entry(GPFM)
