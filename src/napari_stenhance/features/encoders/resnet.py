"""ResNet-50, trained on ImageNet: what pathology encoders are measured against."""

from __future__ import annotations

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import IMAGENET_MEAN, IMAGENET_STD, EncoderNetwork

RESNET50 = EncoderNetwork(
    name="resnet50",
    arch="resnet50",
    side_px=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    licence="BSD-3-Clause",
    commercial=True,
    citation=(
        "He et al., Deep residual learning for image recognition, CVPR 2016, arXiv:1512.03385"
    ),
    repos=("timm/resnet50.tv_in1k",),
    parameters=23_508_032,
    # With its classifier.
    file_bytes=102_230_000,
)
ENCODER = networks_entry(RESNET50)
