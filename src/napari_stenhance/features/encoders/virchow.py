"""Virchow and Virchow2, vision transformers trained on pathology; weights must be asked for."""

from __future__ import annotations

from dataclasses import replace

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import IMAGENET_MEAN, IMAGENET_STD, EncoderNetwork

VIRCHOW = EncoderNetwork(
    name="virchow",
    arch="vit_huge_patch14_224",
    side_px=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    licence="Apache-2.0",
    commercial=True,
    citation=(
        "Vorontsov et al., A foundation model for clinical-grade computational pathology and rare "
        "cancers detection, Nature Medicine 30:2924-2935 (2024), arXiv:2309.07778"
    ),
    # 6,832 / 1,280
    options={"init_values": 1e-5, "mlp_ratio": 5.3375, "global_pool": ""},
    swiglu=True,
    vector="class and mean",
    repos=("paige-ai/Virchow",),
    parameters=631_229_184,
    gated=True,
    trained=True,
)
VIRCHOW2 = replace(
    VIRCHOW,
    name="virchow2",
    licence="CC-BY-NC-ND-4.0",
    commercial=False,
    citation=(
        "Zimmermann et al., Virchow2: scaling self-supervised mixed magnification models in "
        "pathology, arXiv:2408.00738 (2024)"
    ),
    options={**VIRCHOW.options, "reg_tokens": 4},
    repos=("paige-ai/Virchow2",),
    parameters=631_239_424,
)
ENCODER = networks_entry(VIRCHOW, VIRCHOW2)
