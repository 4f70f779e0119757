"""How elements of a SpatialData store lie in its coordinate systems.

Each says its way to every system; pixels and shapes are counted from a corner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNITS = {"micrometer": 1.0, "µm": 1.0, "um": 1.0, "micron": 1.0, "nanometer": 1e-3,
          "millimeter": 1e3}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Way:
    """The way of an element to a coordinate system.

    Attributes
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Takes (x, y, 1) of the element to that of the system.
    unit_um : float or None
        Micrometres that a unit of the system is; None if nobody says.
    """

    matrix: NDArray[np.float64]
    unit_um: float | None

    @property
    def scale(self) -> float:
        """Units of the system along one of the element."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:2, :2]))))

    def then_back(self, other: Way) -> Way:
        """Return the way to the system, and back to another element."""
        return Way(np.linalg.inv(other.matrix) @ self.matrix, None)

    def __call__(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take positions (x, y), shape (n, 2), along."""
        return np.asarray(xy @ self.matrix[:2, :2].T + self.matrix[:2, 2], dtype=np.float64)


def ways_of(transformations: Any, axes: Sequence[str]) -> dict[str, Way]:
    """Read the ways of an element, by the name of the system.

    Parameters
    ----------
    transformations : list of dict
        `coordinateTransformations`, as SpatialData writes them.
    axes : sequence of str
        Of the element.

    Raises
    ------
    ValueError
        If a way cannot be gone, or not back.
    """
    found = {}
    for one in transformations or ():
        output = one.get("output") if isinstance(one, dict) else None
        if not isinstance(output, dict):
            continue
        matrix = _matrix(one, tuple(axes))
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:2, :2])) < 1e-12:
            msg = f"an element lies in {output.get('name')} as a line, or nowhere"
            raise ValueError(msg)
        units = {
            str(axis.get("unit"))
            for axis in output.get("axes", ())
            if axis.get("name") in ("x", "y")
        }
        unit = _UNITS.get(units.pop()) if len(units) == 1 else None
        found[str(output.get("name", "global"))] = Way(matrix, unit)
    return found


def _matrix(one: Mapping[str, Any], axes: tuple[str, ...]) -> NDArray[np.float64]:
    inputs, outputs = _names(one.get("input"), axes), _names(one.get("output"), axes)
    kind = str(one.get("type"))
    matrix = np.eye(3)
    if kind == "sequence":
        for part in one["transformations"]:
            matrix = _matrix(part, inputs) @ matrix
            inputs = _names(part.get("output"), inputs)
    elif kind == "scale":
        for n, axis in enumerate("xy"):
            matrix[n, n] = _value(one["scale"], inputs, axis)
    elif kind == "translation":
        for n, axis in enumerate("xy"):
            matrix[n, 2] = _value(one["translation"], inputs, axis)
    elif kind == "affine":
        rows = np.array(one["affine"], dtype=np.float64)
        if rows.shape[1:] != (len(inputs) + 1,) or len(rows) < len(outputs):
            msg = f"an affine matrix of {rows.shape} does not take {inputs} to {outputs}"
            raise ValueError(msg)
        columns = [inputs.index("x"), inputs.index("y"), len(inputs)]
        for n, axis in enumerate("xy"):
            matrix[n] = rows[outputs.index(axis)][columns]
    elif kind == "mapAxis":
        matrix = np.zeros((3, 3))
        matrix[2, 2] = 1
        for n, axis in enumerate("xy"):
            matrix[n, "xy".index(one["mapAxis"][axis])] = 1
    elif kind != "identity":
        msg = f"an element is placed by {kind!r}, which is not supported"
        raise ValueError(msg)
    return matrix


def _names(system: Any, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    axes = system.get("axes") if isinstance(system, dict) else None
    return tuple(str(axis["name"]) for axis in axes) if axes else otherwise


def _value(values: Any, axes: tuple[str, ...], axis: str) -> float:
    if len(values) != len(axes) or axis not in axes:
        msg = f"{values} is not one number for each of {axes}"
        raise ValueError(msg)
    return float(values[axes.index(axis)])
