"""Regions that have names, colours and numbers; QuPath's annotations, and cells, are such."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.geojson import features_text, read_features
from napari_stenhance.section.region import Region
from napari_stenhance.storage.atomic import atomic_path


@dataclass(frozen=True, eq=False)
class NamedRegions:
    """Areas on a slide, each by itself, where a `Region` is one area.

    Attributes
    ----------
    names : tuple of str
        Two may be called the same.
    areas : ndarray of object, shape (regions,)
        shapely's polygons and multi-polygons, valid, in micrometres of the world.
    kinds : tuple of str
        What QuPath calls a class, such as "Tumor"; empty where there is none. By default there is
        none at all.
    colours : tuple of str
        `#rrggbb`; empty where there is none.
    measurements : tuple of mapping
        Numbers by their names, as a file brought them.
    doubts : tuple of str
    """

    names: tuple[str, ...]
    areas: NDArray[np.object_]
    kinds: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    measurements: tuple[Mapping[str, float], ...] = ()
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        number = len(self.names)
        for name, nothing in (("kinds", ""), ("colours", ""), ("measurements", {})):
            if not getattr(self, name):
                object.__setattr__(self, name, (nothing,) * number)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_region(cls, region: Region, name: str = "Region 1") -> Self:
        """Take one region, whatever its parts, by a name."""
        areas = np.empty(1, dtype=object)
        areas[0] = region.area
        return cls((name,), areas)

    @classmethod
    def read(
        cls, path: str | Path, mpp: float | None = None, shape: tuple[int, int] | None = None
    ) -> Self:
        """Read the features of a GeoJSON file, in micrometres or as QuPath writes them.

        What has no name is called as its class, or else by its number.

        Parameters
        ----------
        path : str or Path
        mpp : float, optional
            Micrometres per pixel of the slide, which QuPath's pixels need.
        shape : tuple of int, optional
            Rows and columns of the slide, by which a file that does not say its unit is understood:
            pixels, if only as these its polygons lie on the slide, and else micrometres.

        Raises
        ------
        InputError
            If the file is missing, no GeoJSON, in pixels of an unknown width, or holds no polygon
            with an area.
        """
        found = read_features(Path(path), mpp, shape)
        kinds = tuple(_kind_of(one) for one in found.said)
        names = tuple(
            _name_of(one) or kind or f"Region {n}"
            for n, (one, kind) in enumerate(zip(found.said, kinds, strict=True), 1)
        )
        return cls(
            names,
            found.areas,
            kinds,
            tuple(map(_colour_of, found.said)),
            tuple(map(_measurements_of, found.said)),
            found.doubts,
        )

    @classmethod
    def read_cells(
        cls, path: str | Path, mpp: float | None = None, shape: tuple[int, int] | None = None
    ) -> Self:
        """Read outlines of cells, as QuPath, StarDist and CellViT write them; see `read`.

        A cell that has no name is called by its number. Of a feature with several polygons, which
        CellViT makes of all cells of a class, each is one cell.
        """
        found = read_features(Path(path), mpp, shape)
        areas, of = shapely.get_parts(found.areas, return_index=True)
        whole = np.bincount(of, minlength=len(found.said)) == 1
        names = tuple(
            (_name_of(found.said[at]) if whole[at] else "") or f"Cell {n}"
            for n, at in enumerate(of, 1)
        )
        each = [(_kind_of(one), _colour_of(one), _measurements_of(one)) for one in found.said]
        kinds, colours, measurements = zip(*(each[at] for at in of), strict=True)
        doubts = found.doubts
        if len(areas) > len(found.said):
            hold = agree(len(found.said), "holds", "hold")
            said = f"{counted(len(found.said), 'feature')} {hold} {len(areas)} polygons"
            doubts += (f"{Path(path).name}: {said}; each is taken for one cell.",)
        return cls(names, areas, kinds, colours, measurements, doubts)

    def write(self, out: Path, mpp: float | None = None) -> None:
        """Write them as GeoJSON, whole or not at all.

        Parameters
        ----------
        out : Path
            Nothing is overwritten.
        mpp : float, optional
            Write annotations for QuPath, in pixels of this width; by default micrometres.

        Raises
        ------
        InputError
            If something lies there, or it cannot be written.
        """
        text = features_text(self.areas, self._properties(mpp is not None), mpp)
        with atomic_path(out) as aside:
            aside.write_text(text, "utf-8")

    def _properties(self, for_qupath: bool) -> Iterable[dict[str, Any]]:
        for name, kind, colour, measured in zip(
            self.names, self.kinds, self.colours, self.measurements, strict=True
        ):
            said: dict[str, Any] = {"objectType": "annotation"} if for_qupath else {}
            said["name"] = name
            if kind:
                said["classification"] = {"name": kind}
            if colour:
                rgb = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
                said.get("classification", {})["color"] = rgb
                said["color"] = rgb
            numbers = {key: float(v) for key, v in measured.items() if np.isfinite(v)}
            if numbers:
                said["measurements"] = numbers
            yield said

    def chosen(self, rows: Sequence[int]) -> Self:
        """Return some of them, in this order."""
        return replace(
            self,
            names=tuple(self.names[n] for n in rows),
            areas=self.areas[list(rows)],
            kinds=tuple(self.kinds[n] for n in rows),
            colours=tuple(self.colours[n] for n in rows),
            measurements=tuple(self.measurements[n] for n in rows),
        )

    def with_measurements(self, measurements: Sequence[Mapping[str, float]]) -> Self:
        """Return them with numbers beside those that they have; of one name, the new."""
        joined = zip(self.measurements, measurements, strict=True)
        return replace(self, measurements=tuple({**old, **new} for old, new in joined))

    def united(self) -> Region:
        """Return all of them as one area."""
        return Region.from_shapes(list(self.areas))


def _properties_of(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _classification(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _properties_of(feature).get("classification")
    return found if isinstance(found, Mapping) else {}


def _name_of(feature: Mapping[str, Any]) -> str:
    return str(_properties_of(feature).get("name") or "").strip()


def _kind_of(feature: Mapping[str, Any]) -> str:
    """Return the class; QuPath's derived ones are a list of names."""
    found = _classification(feature)
    name = found.get("name") or found.get("names") or ""
    return ": ".join(map(str, name)) if isinstance(name, list) else str(name).strip()


def _colour_of(feature: Mapping[str, Any]) -> str:
    """Return the colour of an object, or else of its class: [r, g, b], or packed as in Java."""
    for said in (_properties_of(feature), _classification(feature)):
        colour = said.get("color", said.get("colorRGB"))
        if isinstance(colour, int) and not isinstance(colour, bool):
            return f"#{colour & 0xFFFFFF:06x}"
        if isinstance(colour, list) and len(colour) >= 3:
            rgb = colour[:3]
            if all(isinstance(v, int) and 0 <= v <= 255 for v in rgb):
                return "#{:02x}{:02x}{:02x}".format(*rgb)
    return ""


def _measurements_of(feature: Mapping[str, Any]) -> Mapping[str, float]:
    """Return numbers by their names; before QuPath 0.4 they were a list."""
    found = _properties_of(feature).get("measurements")
    if isinstance(found, list):
        found = {one.get("name"): one.get("value") for one in found if isinstance(one, Mapping)}
    if not isinstance(found, Mapping):
        return {}
    return {
        str(name): float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
