"""What `forked.py` imports before it forks: what the command line and the fuzz come to import."""

from __future__ import annotations

import importlib
import pkgutil

import numba  # noqa: F401

import fuzz_images  # noqa: F401
import fuzz_results  # noqa: F401
import fuzz_tables  # noqa: F401
import napari_stenhance.cli.commands
import napari_stenhance.features.moments
import napari_stenhance.methods.pixel2gene.ensemble
import napari_stenhance.methods.pixel2gene.reference
import napari_stenhance.section
import napari_stenhance.tasks.inference
import napari_stenhance.tasks.kept_model
import napari_stenhance.tasks.lesson

# Formats of images and tables, which are imported as they are needed.
_section = napari_stenhance.section
for _module in pkgutil.walk_packages(_section.__path__, f"{_section.__name__}."):
    importlib.import_module(_module.name)
