"""What `forked.py` imports before it forks: what the command line and the fuzz come to import."""

from __future__ import annotations

import importlib
import pkgutil

import numba.np.arrayobj
import numba.np.npyimpl
import numba.typed.typedlist  # noqa: F401
import skimage.measure._regionprops  # noqa: F401

# Every optimizer imports it, which takes seconds.
import torch._dynamo  # noqa: F401

import fuzz_images  # noqa: F401
import fuzz_results  # noqa: F401
import fuzz_tables  # noqa: F401
import napari_stenhance.cli.commands
import napari_stenhance.features.encoders
import napari_stenhance.features.moments
import napari_stenhance.features.networks
import napari_stenhance.features.ridges
import napari_stenhance.methods.pixel2gene.ensemble
import napari_stenhance.methods.pixel2gene.reference
import napari_stenhance.section
import napari_stenhance.tasks.inference
import napari_stenhance.tasks.kept_model
import napari_stenhance.tasks.lesson

# Formats of images and tables, and encoders, which are imported as they are needed.
for _package in (napari_stenhance.section, napari_stenhance.features.encoders):
    for _module in pkgutil.walk_packages(_package.__path__, f"{_package.__name__}."):
        importlib.import_module(_module.name)
