"""UNI, a vision transformer trained on pathology; its weights must be asked for.

References
----------
Chen et al., Towards a general-purpose foundation model for computational pathology, Nature Medicine
30:850-862 (2024), doi:10.1038/s41591-024-02857-3
"""

from __future__ import annotations

from napari_stenhance.features.network_entry import NetworkEntry
from napari_stenhance.features.networks import EncoderNetwork

UNI = EncoderNetwork(
    name="uni",
    arch="vit_large_patch16_224",
    side_px=224,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    licence="CC-BY-NC-ND-4.0",
    options={
        "img_size": 224,
        "patch_size": 16,
        "init_values": 1e-5,
        "dynamic_img_size": True,
    },
    # The second is how its own instructions spell it.
    repos=("MahmoodLab/UNI", "MahmoodLab/uni"),
    files=("pytorch_model.bin", "model.safetensors"),
    gated=True,
    half=True,
    trained=True,
)
ENCODER = NetworkEntry("uni", "uni", lambda _name: UNI)
