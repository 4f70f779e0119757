"""One image of an OME-Zarr, as its metadata describes it and as the specification allows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_stenhance.section.images.ome_zarr.node import ArrayNode

_VERSIONS = {2: "0.4", 3: "0.5"}
_SPATIALDATA = "-dev-spatialdata"
_KINDS = ("time", "channel", "space")
_MICROMETRES = {
    "angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "micron": 1.0, "µm": 1.0, "um": 1.0,
    "nm": 1e-3, "mm": 1e3, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6, "inch": 25400.0,
}  # fmt: skip
_COLOURS = ("FF0000", "00FF00", "0000FF")
_NAMES = (("r", "g", "b"), ("red", "green", "blue"))
_NAMELESS = re.compile(r"(channel|ch|c)?[\s_:#-]*\d*([\s_:.-]+\d+)*", re.IGNORECASE)


@dataclass(frozen=True)
class Multiscale:
    """An image and its levels.

    Attributes
    ----------
    folder : Path
        Of the group.
    name : str
        As the metadata call it, or "".
    axes : tuple of str
        Their names.
    levels : tuple of ArrayNode
        From full resolution down.
    sides : tuple of float
        The sides of a full-resolution pixel along y and x, in `units`.
    units : tuple of str
        Of y and x; "" where none is named.
    channels : tuple of tuple
        Name and colour (in hexadecimal digits) of each channel, "" where not said; empty if nothing
        is said of channels.
    """

    folder: Path
    name: str
    axes: tuple[str, ...]
    levels: tuple[ArrayNode, ...]
    sides: tuple[float, float]
    units: tuple[str, str]
    channels: tuple[tuple[str, str], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        lengths = dict(zip(self.axes, self.levels[0].shape, strict=True))
        return lengths["y"], lengths["x"]

    @property
    def colours(self) -> int:
        """The length of the axis of colours; 1 without one."""
        return dict(zip(self.axes, self.levels[0].shape, strict=True)).get("c", 1)

    def micrometres(self) -> tuple[float, float] | None:
        """Return the sides of a pixel along y and x in micrometres; None without their units."""
        if not all(unit in _MICROMETRES for unit in self.units):
            return None
        y, x = (side * _MICROMETRES[u] for side, u in zip(self.sides, self.units, strict=True))
        return y, x

    def check_slide(self) -> None:
        """Refuse what is no slide in colours: a stack, fluorescence, a single channel.

        Raises
        ------
        ValueError
            Naming the axes.
        """
        lengths = dict(zip(self.axes, self.levels[0].shape, strict=True))
        named = ", ".join(f"{axis} {length}" for axis, length in lengths.items())
        if any(length > 1 for axis, length in lengths.items() if axis not in "cyx"):
            msg = f"it is a stack, with axes {named}, and a slide is one plane in colours"
            raise ValueError(msg)
        if self.colours not in (3, 4):
            msg = f"it has axes {named}, and a slide has 3 colours (or 4, with transparency)"
            raise ValueError(msg)
        if not self._is_rgb():
            said = ", ".join(name or colour for name, colour in self.channels)
            msg = f"its channels are {said}, and not red, green and blue"
            raise ValueError(msg)

    def _is_rgb(self) -> bool:
        """Tell colours from stains by what is said of the channels."""
        names = tuple(name.strip().lower() for name, _ in self.channels[:3])
        colours = tuple(colour.upper() for _, colour in self.channels[:3])
        if not self.channels or names in _NAMES:
            return True
        if not all(_NAMELESS.fullmatch(name) for name in names):
            return False
        return colours == _COLOURS or len(set(colours)) == 1


def read_multiscales(
    folder: Path, said: dict[str, Any], *, labels: bool = False
) -> tuple[Multiscale, ...]:
    """Read the images of a group from its attributes; no pixels are read.

    Parameters
    ----------
    folder : Path
    said : dict
        The attributes.
    labels : bool
        They are whole numbers, of any size, instead of colours.

    Raises
    ------
    ValueError
        If they are not what OME-Zarr 0.4 or 0.5 allows.
    OSError
        If an array cannot be read.
    """
    listed = said["multiscales"]
    if not isinstance(listed, list) or not listed:
        msg = "its multiscales are empty"
        raise ValueError(msg)
    return tuple(_read_one(folder, said, one, labels=labels) for one in listed)


def _read_one(
    folder: Path, said: dict[str, Any], one: dict[str, Any], *, labels: bool
) -> Multiscale:
    zarr_format = int(said["zarr_format"])
    known = _VERSIONS[zarr_format]
    version = one.get("version", known) if zarr_format == 2 else said.get("version")
    # What SpatialData writes differs in how images are placed in its coordinate systems alone. It
    # writes 0.4 into zarr 3 in one of its versions, and says so in the multiscale.
    if str(version).removesuffix(_SPATIALDATA) != known:
        msg = f"it is OME-Zarr {version} in zarr {zarr_format}, and 0.4 in 2 and 0.5 in 3 are read"
        raise ValueError(msg)
    axes = _axes(one.get("axes"))
    names = tuple(str(axis["name"]) for axis in axes)
    datasets = one.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        msg = "it lists no levels"
        raise ValueError(msg)
    overall = [t for t in one.get("coordinateTransformations") or () if "output" not in t]
    whole = _scale(overall, len(names)) if overall else (1.0,) * len(names)
    levels = []
    for dataset in datasets:
        scale = _scale(dataset.get("coordinateTransformations"), len(names))
        levels.append(_level(folder, dataset.get("path"), zarr_format, names, labels=labels))
        if len(levels) == 1:
            sides = dict(
                zip(names, (a * b for a, b in zip(scale, whole, strict=True)), strict=True)
            )
    units = {str(axis["name"]): str(axis.get("unit", axis.get("units", ""))) for axis in axes}
    return Multiscale(
        folder,
        str(one.get("name", "")),
        names,
        tuple(levels),
        (sides["y"], sides["x"]),
        (units["y"], units["x"]),
        _channels(said.get("omero")),
    )


def _axes(axes: Any) -> list[dict[str, Any]]:
    """Check the axes of an image: those of the specification, or colours last.

    Raises
    ------
    ValueError
        If they are not.
    """
    good = isinstance(axes, list) and all(isinstance(axis, dict) for axis in axes)
    names = [axis.get("name") for axis in axes] if good else []
    if not good or not {"y", "x"} <= set(names) <= set("tczyx") or len(set(names)) != len(names):
        msg = f"its axes are {names or axes}, and not y and x with c, z or t"
        raise ValueError(msg)
    kinds = [axis.get("type", _kind(axis["name"])) for axis in axes]
    if any(kind != _kind(name) for kind, name in zip(kinds, names, strict=True)):
        msg = f"its axes {names} are of the types {kinds}"
        raise ValueError(msg)
    order = [kind for kind in _KINDS for _ in range(kinds.count(kind))]
    if kinds not in (order, sorted(order, key="channel".__eq__)):
        msg = f"its axes {names} are not in the order time, channel, space"
        raise ValueError(msg)
    if names.index("y") > names.index("x"):
        msg = f"its axes {names} have x before y"
        raise ValueError(msg)
    return list(axes)


def _kind(name: str) -> str:
    return {"t": "time", "c": "channel"}.get(name, "space")


def _scale(transformations: Any, axes: int) -> tuple[float, ...]:
    """Return the one scale of coordinate transformations, which a translation may follow.

    Raises
    ------
    ValueError
        If they are not so.
    """
    kinds = [one.get("type") for one in transformations or ()]
    if kinds not in (["scale"], ["scale", "translation"]):
        msg = f"a level is placed by {kinds or 'nothing'}, and not by one scale and a translation"
        raise ValueError(msg)
    for one in transformations:
        values = one.get(one["type"])
        numbers = isinstance(values, list) and all(
            isinstance(value, int | float) and math.isfinite(value) for value in values
        )
        if not numbers or len(values) != axes:
            msg = f"a {one['type']} of {values} is not one number for each of {axes} axes"
            raise ValueError(msg)
    scale = tuple(float(value) for value in transformations[0]["scale"])
    if min(scale) <= 0:
        msg = f"a scale of {list(scale)} cannot be"
        raise ValueError(msg)
    return scale


def _level(
    folder: Path, path: Any, zarr_format: int, axes: tuple[str, ...], *, labels: bool
) -> ArrayNode:
    parts = Path(path).parts if isinstance(path, str) and path else ("..",)
    if ".." in parts or Path(path).is_absolute():
        msg = f"a level lies at {path!r}, which is no path in it"
        raise ValueError(msg)
    level = ArrayNode.read(folder.joinpath(*parts), zarr_format, labels=labels)
    if len(level.shape) != len(axes):
        msg = f"the level {path!r} has {len(level.shape)} axes, and {len(axes)} are named"
        raise ValueError(msg)
    if level.names is not None and level.names != axes:
        msg = f"the level {path!r} has axes {level.names}, and {axes} are said"
        raise ValueError(msg)
    return level


def _channels(omero: Any) -> tuple[tuple[str, str], ...]:
    said = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(said, list) or not all(isinstance(channel, dict) for channel in said):
        return ()
    return tuple((str(one.get("label", "")), str(one.get("color", ""))) for one in said)
