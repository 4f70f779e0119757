"""Faults of a slide as a layer of labels, and what its colours mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.features.quality import KINDS
from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, Role, grid_space, layers_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_stenhance.features.quality import Quality
    from napari_stenhance.plugin.layer_info import Place
    from napari_stenhance.section.section import Section

QUALITY = Role("quality", 5)
COLOURS = dict(zip(KINDS, ("#ff2d2d", "#ffb000", "#00c853", "#00b0ff"), strict=True))
"""Of each kind of fault: bright ones, which no stain has."""


def quality_layer(section: Section, quality: Quality) -> LayerData:
    """Make the layer of a slide's faults; the status bar names the kind under the mouse."""
    import pandas as pd
    from napari.utils.colormaps import DirectLabelColormap

    colours = {label: COLOURS[kind] for label, kind in enumerate(KINDS, 1)}
    attributes = {
        "name": f"quality of {section.name}",
        "opacity": 0.7,
        "colormap": DirectLabelColormap(color_dict={None: np.zeros(4), 0: np.zeros(4), **colours}),
        "features": pd.DataFrame({"index": range(len(KINDS) + 1), "fault": ["", *KINDS]}),
        "metadata": LayerInfo(
            QUALITY, section.name, section=section, part=quality_legend(quality)
        ).metadata(),
        **grid_space(quality.grid),
    }
    return quality.labels, attributes, "labels"


def said_of_fault(_info: LayerInfo, value: int) -> str:
    """Say which fault is seen; nothing where there is none."""
    return f"fault: {KINDS[value - 1]}" if value else ""


def quality_legend(quality: Quality) -> str:
    """Return the legend in rich text: each kind in its colour, with its share of the tissue."""
    shares = quality.shares
    return "&nbsp; ".join(
        f'<span style="color:{COLOURS[kind]}">■</span>&nbsp;{kind}&nbsp;'
        + (f"{shares[kind]:.1%}" if kind in shares else "not&nbsp;judged")
        for kind in KINDS
    )


def quality_legend_of(viewer: ViewerModel, place: Place | None) -> str:
    """Return the legend of the faults that are shown of a section; empty if none are."""
    found = (info for _, info in layers_of(viewer, QUALITY.name) if info.place is place)
    return next((f"{info.name}: {info.part}" for info in found), "")


def remove_quality(viewer: ViewerModel, section: Section) -> None:
    """Remove the layer of a section's faults, if there is one."""
    for layer, info in list(layers_of(viewer, QUALITY.name)):
        if info.section is section:
            viewer.layers.remove(layer)
