"""What `forked.py` imports before it forks: what the command line and the fuzz come to import."""

from __future__ import annotations

import numba  # noqa: F401

import fuzz_tables  # noqa: F401
import napari_stenhance.cli.commands
import napari_stenhance.features.moments
import napari_stenhance.methods.pixel2gene.ensemble
import napari_stenhance.tasks.inference
import napari_stenhance.tasks.kept_model
import napari_stenhance.tasks.lesson  # noqa: F401
