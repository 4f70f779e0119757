"""Layers of methods that see crops: predictions between spots, and which size of crop counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.plugin.images import image_layer, run_title
from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, pixel_space
from napari_stenhance.plugin.levels import contrast, image_levels
from napari_stenhance.plugin.spots import LatticeColours

if TYPE_CHECKING:
    from napari_stenhance.results.result import ResultFolder

_COLORMAP = "cividis"


def crop_layers(result: ResultFolder, run: str, gene: str, *, visible: bool) -> list[LayerData]:
    """Make the layers of a run's attention, hidden at first, and of its lattices.

    Parameters
    ----------
    result : ResultFolder
    run : str
    gene : str
        What colours lattices.
    visible : bool
        Whether the run is.
    """
    from napari_stenhance.results.lattice import lattices

    return [
        *_attention_layers(result, run),
        *(_lattice_layer(result, run, s, gene, visible=visible) for s in lattices(result, run)),
    ]


def _attention_layers(result: ResultFolder, run: str) -> list[LayerData]:
    from napari_stenhance.results.attention import written_attention
    from napari_stenhance.section.grid import Grid

    grid = Grid.from_dict(result.run_attributes(run)["grid"])
    layers = []
    for crop_um, levels in written_attention(result, run).items():
        part = f"{crop_um:g} µm"
        about = LayerInfo("attention", result.name, result=result.path, run=run, part=part)
        title = f"{run_title(result, run)} attention: crops of {part}"
        images = image_levels(levels)
        # Not from 0 to 1: sizes often count for about the same, and where they do not matters.
        ends = contrast(images)
        layers.append(image_layer(images, grid, title, about, ends, _COLORMAP, visible=False))
    return layers


def _lattice_layer(
    result: ResultFolder, run: str, s: int, gene: str, *, visible: bool
) -> LayerData:
    import zarr

    from napari_stenhance.results.lattice import lattice_group
    from napari_stenhance.results.tables import read_table
    from napari_stenhance.storage.checked import checked, open_node

    group = lattice_group(result, run, s)
    obs, uns = read_table(group, "obs"), read_table(group, "uns")
    colours = LatticeColours(
        genes=tuple(read_table(group, "var").index),
        predicted=checked(open_node(group, "X", zarr.Array)),
        title=f"{run_title(result, run)} lattice {s}",
        unit=uns["stenhance_prediction"]["unit"],
    )
    mpp = float(uns["microns_per_pixel"])
    rgba, _ = colours.paint(gene)
    about = LayerInfo(
        "lattice",
        result.name,
        colours=colours,
        result=result.path,
        run=run,
        part=str(s),
        gene=gene,
    )
    attributes = {
        "name": colours.label(result.name, gene),
        "size": float(uns["stenhance"]["spot_diameter_um"]) / mpp,
        "symbol": str(uns["stenhance"]["spot_shape"]),
        "border_width": 0,
        "face_color": rgba,
        "features": {
            "point": np.asarray(obs.index, dtype=object),
            "is_measured": obs["is_measured"].to_numpy(),
        },
        "opacity": 0.8,
        "visible": visible,
        "metadata": about.metadata(),
        **pixel_space(mpp),
    }
    return read_table(group, "obsm/spatial")[:, ::-1], attributes, "points"
