"""What makes a layer look as it does and lie where it lies, as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np

_ALL = ("scale", "translate", "axis_labels", "opacity", "blending", "visible")
_SOME = {
    "image": ("rgb", "contrast_limits", "gamma", "interpolation2d"),
    "labels": (),
    "points": ("border_width_is_relative", "antialiasing", "canvas_size_limits", "shading"),
    "shapes": (),
}


def plain(value: Any) -> Any:
    """Return what JSON can hold: lists, numbers, strings; NaN becomes null."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [plain(content) for content in value]
    if isinstance(value, float) and np.isnan(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def plain_columns(features: Any) -> dict[str, list[Any]]:
    """Return a table's columns as lists; what is missing becomes null."""
    whole = features.astype(object).where(features.notna(), None)
    return {str(name): plain(column.tolist()) for name, column in whole.items()}


def unit_names(attributes: Mapping[str, Any]) -> list[str]:
    """Name the units of a layer's axes; to pint, "px" is a length in style sheets."""
    units = attributes.get("units") or ("pixel", "pixel")
    names = [str(unit) for unit in ((units,) * 2 if isinstance(units, str) else units)]
    return ["pixel" if name in {"px", "css_pixel"} else name for name in names]


def display_attributes(kind: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the look of a layer from what `as_layer_data_tuple` says about it."""
    look = {key: plain(attributes[key]) for key in (*_ALL, *_SOME[kind]) if key in attributes}
    look["units"] = unit_names(attributes)
    for key, identity in (("rotate", np.eye(2)), ("shear", [0]), ("affine", np.eye(3))):
        matrix = attributes.get(key)
        if matrix is not None and not np.array_equal(matrix, identity):
            look[key] = plain(np.asarray(matrix))
    if kind in {"image", "labels"} and "colormap" in attributes:
        read = image_colormap if kind == "image" else _label_colormap
        look["colormap"] = read(attributes["colormap"])
    return look


def attributes_of(kind: str, look: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that give a layer this look."""
    attributes = dict(look)
    if kind == "labels":
        attributes.update(_label_attributes(attributes.pop("colormap", None)))
    return attributes


def direct_colours(colormap: Any) -> dict[int | None, Any] | None:
    """Return the colour of each label, None for all others; None where colours are cycled."""
    from napari.utils.colormaps import DirectLabelColormap

    if isinstance(colormap, DirectLabelColormap):
        colormap = colormap.color_dict
    return dict(colormap) if isinstance(colormap, Mapping) else None


def image_colormap(colormap: Any) -> Any:
    """Return a name that every napari knows, or else the colours themselves."""
    from napari.utils.colormaps import ALL_COLORMAPS, Colormap

    if isinstance(colormap, str):
        return colormap
    made = Colormap(**colormap) if isinstance(colormap, Mapping) else colormap
    known = ALL_COLORMAPS.get(made.name)
    return made.name if known is not None and made.same_colors(known) else plain(made.model_dump())


def _label_colormap(colormap: Any) -> dict[str, Any] | None:
    """Return the colours of labels; None for those that every new layer has."""
    from napari.utils.colormaps import label_colormap
    from napari.utils.colormaps.standardize_color import transform_color

    direct = direct_colours(colormap)
    if direct is not None:
        colours = {key: plain(transform_color(colour)[0]) for key, colour in direct.items()}
        return {"direct": [[plain(key), colour] for key, colour in colours.items()]}
    usual = label_colormap(len(colormap.colors) - 1, background_value=colormap.background_value)
    return None if colormap.same_colors(usual) else {"cycle": plain(colormap.colors)}


def _label_attributes(colours: dict[str, Any] | None) -> dict[str, Any]:
    from napari.utils.colormaps import CyclicLabelColormap

    if colours is None:
        return {}
    if "direct" in colours:
        return {"colormap": {key: np.array(colour) for key, colour in colours["direct"]}}
    return {"colormap": CyclicLabelColormap(colors=colours["cycle"])}
