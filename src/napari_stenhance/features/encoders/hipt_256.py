"""The first stage of HIPT, which sees squares of 256 pixels, trained on pathology by DINO."""

from __future__ import annotations

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import HALF, EncoderNetwork

HIPT_256 = EncoderNetwork(
    name="hipt-256",
    arch="vit_small_patch16_224",
    side_px=256,
    mean=HALF,
    std=HALF,
    licence="Apache-2.0 with Commons Clause",
    commercial=False,
    citation=(
        "Chen et al., Scaling vision transformers to gigapixel images via hierarchical "
        "self-supervised learning, CVPR 2022, 16144-16155, arXiv:2206.02647"
    ),
    resizing="dino",
    files=("vit256_small_dino.pth",),
    page="https://github.com/mahmoodlab/HIPT",
    sha256={
        "vit256_small_dino.pth": "6960cd5a8657dc8bb214671aa0c6dbd3f5b698e84386884955836487ddc89e24"
    },
    parameters=21_665_664,
    # All that its training kept.
    file_bytes=704_238_867,
    trained=True,
)
ENCODER = networks_entry(HIPT_256)
