"""Where a gene is above a value, so that few of the marked places are wrong, as a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.images import image_layer, layer_title
from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, Role
from napari_stenhance.results.belief import mark_above, need_value, said_of_cut, sampled_levels
from napari_stenhance.scoring.discoveries import Scale

if TYPE_CHECKING:
    from napari_stenhance.results.runs import FieldRun

MARKED = Role("marked", 3)
_COLOURS = "bop orange"
_ABOVE = " above "


def marked_layer(
    run: FieldRun, gene: str, above: float, scale: Scale
) -> tuple[LayerData | None, str]:
    """Make the layer of where a gene is above a value, and say what it promises.

    Returns
    -------
    layer : tuple or None
        None where no cut can promise that few of the marked are wrong.
    said : str

    Raises
    ------
    InputError
        If the run keeps no held-out spots, or there is no such gene.
    """
    places, cut = mark_above(run, gene, above, scale)
    said = said_of_cut(cut, gene, above, run.unit, scale)
    if not cut.found:
        return None, said
    part = f"{gene}{_ABOVE}{above:g} ({scale})"
    info = LayerInfo(MARKED, run.result.name, run=run, part=part)
    # Elsewhere the slide is seen.
    shown = np.where(places > 0, np.float32(1), np.float32(np.nan))
    levels = sampled_levels(run, lambda: shown)
    title = layer_title(part, run)
    return image_layer(levels, run.grid, title, info, _COLOURS, visible=True, limits=(0.0, 1.0)), (
        said
    )


def read_mark(part: str) -> tuple[str, float, Scale]:
    """Read of which gene, value and scale a layer of marks is, as its part says.

    Raises
    ------
    InputError
        If it says none.
    """
    gene, _, rest = part.rpartition(_ABOVE)
    value, _, scale = rest.removesuffix(")").partition(" (")
    for one in get_args(Scale):
        if scale == one:
            try:
                return gene, need_value(float(value)), one
            except ValueError:
                break
    msg = f"{part}: this says no gene, value and scale of marks; mark it again."
    raise InputError(msg)


def said_of_marked(info: LayerInfo, value: float) -> str:
    """Say that it is marked, as is seen."""
    return f"{info.part}, predicted: marked" if value > 0 else ""
