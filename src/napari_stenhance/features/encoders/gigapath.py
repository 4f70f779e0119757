"""The tile encoder of Prov-GigaPath; its weights must be asked for."""

from __future__ import annotations

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import IMAGENET_MEAN, IMAGENET_STD, EncoderNetwork

GIGAPATH = EncoderNetwork(
    name="gigapath",
    # In spite of its name with patches of 16 pixels.
    arch="vit_giant_patch14_dinov2",
    side_px=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    licence="Apache-2.0, for research only",
    commercial=False,
    terms="Its page asks that it not be deployed.",
    citation=(
        "Xu et al., A whole-slide foundation model for digital pathology from real-world data, "
        "Nature 630:181-188 (2024)"
    ),
    options={
        "img_size": 224,
        "patch_size": 16,
        "embed_dim": 1536,
        "depth": 40,
        "num_heads": 24,
        "mlp_ratio": 5.33334,
        "init_values": 1e-5,
    },
    repos=("prov-gigapath/prov-gigapath",),
    files=("pytorch_model.bin", "model.safetensors"),
    parameters=1_134_953_984,
    gated=True,
    trained=True,
)
ENCODER = networks_entry(GIGAPATH)
