"""UNI and UNI2-h, vision transformers trained on pathology; their weights must be asked for."""

from __future__ import annotations

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import IMAGENET_MEAN, IMAGENET_STD, EncoderNetwork

UNI = EncoderNetwork(
    name="uni",
    arch="vit_large_patch16_224",
    side_px=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    licence="CC-BY-NC-ND-4.0",
    commercial=False,
    terms="Its terms reach models that were trained on its output.",
    citation=(
        "Chen et al., Towards a general-purpose foundation model for computational pathology, "
        "Nature Medicine 30:850-862 (2024), doi:10.1038/s41591-024-02857-3"
    ),
    options={"init_values": 1e-5},
    # The second is how its own instructions spell it.
    repos=("MahmoodLab/UNI", "MahmoodLab/uni"),
    files=("pytorch_model.bin", "model.safetensors"),
    parameters=303_350_784,
    gated=True,
    trained=True,
)
UNI2_H = EncoderNetwork(
    name="uni2-h",
    arch="vit_giant_patch14_224",
    side_px=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    licence="CC-BY-NC-ND-4.0",
    commercial=False,
    terms="Its terms reach models that were trained on its output.",
    citation=f"{UNI.citation}; UNI2-h, January 2025",
    options={
        "depth": 24,
        "num_heads": 24,
        "embed_dim": 1536,
        "mlp_ratio": 16 / 3,
        "init_values": 1e-5,
        "no_embed_class": True,
        "reg_tokens": 8,
    },
    swiglu=True,
    repos=("MahmoodLab/UNI2-h",),
    files=("pytorch_model.bin", "model.safetensors"),
    parameters=681_394_176,
    gated=True,
    trained=True,
)
ENCODER = networks_entry(UNI, UNI2_H)
