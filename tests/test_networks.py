"""The networks that are known by name."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
import torch

from napari_stenhance.features.network_entry import NetworkEntry
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.features.registry import PACKAGE, find_encoder
from napari_stenhance.running.extensions import extensions

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = ((0.5,) * 3,) * 2
BIOPTIMUS = (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)
HIBOU = (0.7068, 0.5755, 0.7220), (0.1950, 0.2316, 0.1816)
LUNIT = (0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464)
# Of each network, built for pictures as large as those whose positions its published file holds:
# that side, the width of a vector, prefix tokens, patches, statistics; parameters, tensors and the
# first digits of the SHA-256 over their names and shapes.
PUBLISHED = {
    "uni": (224, 1024, 1, 196, IMAGENET, 303350784, 342, "e7caf6eddf9e"),
    "uni2-h": (224, 1536, 9, 256, IMAGENET, 681394176, 343, "71688a75c570"),
    "virchow": (224, 2560, 1, 256, IMAGENET, 631229184, 454, "6cd4b275a3af"),
    "virchow2": (224, 2560, 5, 256, IMAGENET, 631239424, 455, "0604d09e1d3d"),
    "h-optimus-0": (224, 1536, 5, 256, BIOPTIMUS, 1134774272, 567, "40550015be7d"),
    "h-optimus-1": (224, 1536, 5, 256, BIOPTIMUS, 1134774272, 567, "40550015be7d"),
    "h0-mini": (224, 768, 5, 256, BIOPTIMUS, 85739520, 175, "e08f4380eb56"),
    "gigapath": (224, 1536, 1, 196, IMAGENET, 1134953984, 566, "abbbdd709163"),
    "phikon": (224, 768, 1, 196, IMAGENET, 85798656, 150, "eda6cd006b2b"),
    "phikon-v2": (224, 1024, 1, 196, IMAGENET, 303350784, 342, "e7caf6eddf9e"),
    "hibou-b": (224, 768, 5, 256, HIBOU, 85739520, 175, "e08f4380eb56"),
    "hibou-l": (224, 1024, 5, 256, HIBOU, 303657216, 343, "b117cc62f559"),
    "kaiko-s16": (224, 384, 1, 196, HALF, 21665664, 150, "5ec4f493861b"),
    "kaiko-s8": (224, 384, 1, 784, HALF, 21670272, 150, "85ca56c3d1a6"),
    "kaiko-b16": (224, 768, 1, 196, HALF, 85798656, 150, "eda6cd006b2b"),
    "kaiko-b8": (224, 768, 1, 784, HALF, 85807872, 150, "7e417c1f66cb"),
    "kaiko-l14": (518, 1024, 5, 1369, HALF, 304370688, 343, "51369aaa0ef7"),
    "midnight": (518, 3072, 1, 1369, HALF, 1136479232, 566, "cb0a4b39f198"),
    "lunit-s16": (224, 384, 1, 196, LUNIT, 21665664, 150, "5ec4f493861b"),
    "lunit-s8": (224, 384, 1, 784, LUNIT, 21670272, 150, "85ca56c3d1a6"),
    "gpfm": (224, 1024, 1, 256, IMAGENET, 303227904, 342, "f728e69ceaf8"),
    "hipt-256": (224, 384, 1, 196, HALF, 21665664, 150, "5ec4f493861b"),
    "dinov2-s": (518, 384, 5, 1369, IMAGENET, 22057344, 175, "f90e110ce80d"),
    "dinov2-b": (518, 768, 5, 1369, IMAGENET, 86582016, 175, None),
    "dinov2-l": (518, 1024, 5, 1369, IMAGENET, 304370688, 343, "51369aaa0ef7"),
    "dinov3-s": (256, 384, 5, 256, IMAGENET, 21586944, 162, "7f907afb74cd"),
    "dinov3-b": (256, 768, 5, 256, IMAGENET, 85641216, 162, None),
    "dinov3-l": (256, 1024, 5, 256, IMAGENET, 303079424, 318, None),
    # Of 4,652,008 parameters, the others are its classifier's.
    "efficientnet": (224, 1280, None, None, HALF, 3371008, 294, None),
    "resnet50": (224, 2048, None, None, IMAGENET, 23508032, 318, "e1a41511a976"),
}


def cards() -> dict[str, EncoderNetwork]:
    entries = [e for e in extensions(PACKAGE, "ENCODER") if isinstance(e, NetworkEntry)]
    return {network.name: network for entry in entries for network in entry.networks}


def shapes_hash(model: torch.nn.Module) -> str:
    """Identify an architecture: 12 hexadecimal digits over the names and shapes of its tensors."""
    lines = (f"{k}:{tuple(v.shape)}" for k, v in sorted(model.state_dict().items()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def test_every_network_of_a_name_is_tested() -> None:
    assert cards().keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_are_those_that_were_published(name: str) -> None:
    side, width, prefix, patches, statistics, parameters, tensors, shapes = PUBLISHED[name]
    card = cards()[name]
    assert (card.mean, card.std) == statistics
    assert (card.parameters, card.mpp) == (parameters, 0.5)
    with torch.device("meta"):
        model = card.build(side)
        picture = torch.zeros(1, 3, side, side)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == tensors
    assert shapes is None or shapes_hash(model) == shapes
    assert card.width(model) == width
    about: Any = model
    if prefix is not None:
        assert (about.num_prefix_tokens, about.patch_embed.num_patches) == (prefix, patches)
        about.blocks = about.blocks[:1]  # each costs time and leaves the shape
    assert card.vectors(model, picture).shape == (1, width)
    # What people are told before they fetch it.
    assert card.licence
    assert re.search(r"arXiv:\d{4}\.\d{5}|doi:|medRxiv|Nature|https://", card.citation)
    assert card.commercial in (True, False, None)
    assert not (card.commercial and re.search("NC|[Nn]on-[Cc]ommercial|Commons", card.licence))
    assert card.repos or card.page
    assert find_encoder(f"{name}?pretrained=false").crops is not None
