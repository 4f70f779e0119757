"""Layers of methods that see crops: predictions between spots, and which size of crop counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.plugin.colours import ATTENTION as ATTENTION_COLOURS
from napari_stenhance.plugin.colours import LatticeColours
from napari_stenhance.plugin.genes import first_gene
from napari_stenhance.plugin.images import image_layer, layer_title
from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, Role
from napari_stenhance.plugin.spots import points_layer
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.section.spots import SpotGeometry

if TYPE_CHECKING:
    import zarr

    from napari_stenhance.results.run import Run

ATTENTION, LATTICE = Role("attention", 3, fills=True), Role("lattice", 6)


def crop_layers(run: Run, *, visible: bool, gene: str = "") -> list[LayerData]:
    """Make the layers of a run's attention, hidden at first, and of its lattices.

    Parameters
    ----------
    run : Run
    visible : bool
        Whether the run is.
    gene : str
        What colours lattices; by default the gene that is shown at first.
    """
    from napari_stenhance.results.attention import written_attention
    from napari_stenhance.results.lattice import lattices

    if not isinstance(run, FieldRun):
        return []
    attention, gene = written_attention(run.result, run.name), gene or first_gene(run)
    return [
        *(_attention_layer(run, crop_um, levels) for crop_um, levels in attention.items()),
        *(_lattice_layer(run, s, gene, visible=visible) for s in lattices(run.result, run.name)),
    ]


def _attention_layer(run: FieldRun, crop_um: float, levels: list[zarr.Array[Any]]) -> LayerData:
    from napari_stenhance.storage.levels import Levels
    from napari_stenhance.storage.pyramid import mean_pool

    part = f"{crop_um:g} µm"
    info = LayerInfo(ATTENTION, run.result.name, run=run, part=part)
    title = layer_title(f"attention to crops of {part}", run)
    # Not from 0 to 1: sizes often count for about the same, and where they do not matters.
    images = Levels.from_arrays(levels, mean_pool)
    return image_layer(images, run.grid, title, info, ATTENTION_COLOURS, visible=False)


def said_of_attention(info: LayerInfo, value: float) -> str:
    """Say how much a size of crop counted, as is seen."""
    return f"attention to crops of {info.part}: {value:.3g}"


def _lattice_layer(run: FieldRun, s: int, gene: str, *, visible: bool) -> LayerData:
    import zarr

    from napari_stenhance.results.lattice import lattice_group
    from napari_stenhance.results.tables import read_table
    from napari_stenhance.storage.checked import checked, open_node

    group = lattice_group(run.result, run.name, s)
    obs, uns = read_table(group, "obs"), read_table(group, "uns")
    colours = LatticeColours(
        genes=tuple(read_table(group, "var").index),
        predicted=checked(open_node(group, "X", zarr.Array)),
        title=layer_title(f"lattice {s}", run),
        unit=uns["stenhance_prediction"]["unit"],
    )
    diameter = float(uns["stenhance"]["spot_diameter_um"])
    return points_layer(
        read_table(group, "obsm/spatial"),
        colours.label(run.result.name, gene),
        SpotGeometry(diameter, str(uns["stenhance"]["spot_shape"]), diameter, "micrometer"),
        float(uns["microns_per_pixel"]),
        LayerInfo(LATTICE, run.result.name, run=run, part=str(s), gene=gene, colours=colours),
        face_color=colours.paint(gene)[0],
        features={
            "point": np.asarray(obs.index, dtype=object),
            "is_measured": obs["is_measured"].to_numpy(),
        },
        visible=visible,
    )
