"""The first stage of HIPT, which sees squares of 256 pixels, trained on pathology by DINO."""

from __future__ import annotations

from napari_stenhance.features.hipt import HIPT_256
from napari_stenhance.features.network_entry import networks_entry

ENCODER = networks_entry(HIPT_256)
