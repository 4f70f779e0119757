"""H-optimus-0, H-optimus-1 and H0-mini, vision transformers trained on pathology."""

from __future__ import annotations

from dataclasses import replace

from napari_stenhance.features.network_entry import networks_entry
from napari_stenhance.features.networks import EncoderNetwork

H_OPTIMUS_0 = EncoderNetwork(
    name="h-optimus-0",
    arch="vit_giant_patch14_reg4_dinov2",
    side_px=224,
    mean=(0.707223, 0.578729, 0.703617),
    std=(0.211883, 0.230117, 0.177517),
    licence="Apache-2.0",
    commercial=True,
    citation="Saillard et al., H-optimus-0 (2024), https://github.com/bioptimus/releases",
    options={"init_values": 1e-5},
    repos=("bioptimus/H-optimus-0",),
    files=("pytorch_model.bin", "model.safetensors"),
    parameters=1_134_774_272,
    trained=True,
)
H_OPTIMUS_1 = replace(
    H_OPTIMUS_0,
    name="h-optimus-1",
    licence="CC-BY-NC-ND-4.0",
    commercial=False,
    terms="Its terms reach models that were trained on its output.",
    citation="Bioptimus, H-optimus-1 (2025), https://huggingface.co/bioptimus/H-optimus-1",
    repos=("bioptimus/H-optimus-1",),
    files=("model.safetensors", "pytorch_model.bin"),
    gated=True,
)
H0_MINI = replace(
    H_OPTIMUS_1,
    name="h0-mini",
    arch="vit_base_patch14_reg4_dinov2",
    citation=(
        "Filiot et al., Distilling foundation models for robust and efficient models in digital "
        "pathology, MICCAI 2025, arXiv:2501.16239"
    ),
    # Twice 2,048 / 768, rounded up, since what is gated must be even.
    options={"init_values": 1e-5, "mlp_ratio": 5.33334},
    swiglu=True,
    repos=("bioptimus/H0-mini",),
    parameters=85_739_520,
)
ENCODER = networks_entry(H_OPTIMUS_0, H_OPTIMUS_1, H0_MINI)
