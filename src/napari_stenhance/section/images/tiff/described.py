"""What a TIFF's metadata says of the channels of one of its images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

_PLAIN = {
    (255, 0, 0): "red",
    (0, 255, 0): "green",
    (0, 0, 255): "blue",
    (255, 255, 255): "white",
}


@dataclass(frozen=True)
class Described:
    """What is said of the channels of an image.

    Attributes
    ----------
    names : tuple of str
        Of each channel, "" where it has none; empty if nothing is said.
    colours : tuple of str
        In which each is shown, "red" or "#rrggbb"; empty if nobody chose.
    emit : bool
        They are said to be fluorescence.
    named : bool
        Names are of channels; ImageJ's may be of files.
    """

    names: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    emit: bool = False
    named: bool = True


def described(tif: Any, series: Any) -> Described:
    """Read what is said of the channels of an image, whatever its format."""
    if tif.is_ome:
        return _by_ome(tif, series)
    if tif.is_qpi:
        return _by_perkin_elmer(series)
    if tif.is_scn:
        # What is stained for brightfield is RGB there, in one page.
        return Described(emit="S" not in series.axes)
    return _by_imagej(tif)


def pixels_of(tif: Any, shape: tuple[int, int], page: int) -> list[ElementTree.Element]:
    """List what OME may say of an image: it is known by its first page, or else by its size.

    Raises
    ------
    ParseError
        If the metadata is damaged.
    """
    pixels = ElementTree.fromstring(tif.ome_metadata or "<none/>").iterfind(".//{*}Pixels")
    height, width = shape
    fitting = [p for p in pixels if (p.get("SizeX"), p.get("SizeY")) == (f"{width}", f"{height}")]
    return [p for p in fitting if _first_page(p) == page] or fitting


def _first_page(pixels: ElementTree.Element) -> int | None:
    pages = [int(d.get("IFD", 0)) for d in pixels if d.tag.endswith("}TiffData")]
    return min(pages, default=None)


def _by_ome(tif: Any, series: Any) -> Described:
    lengths = dict(zip(series.axes, series.shape, strict=True))
    for pixels in pixels_of(tif, (lengths["Y"], lengths["X"]), series.keyframe.index):
        if pixels.get("SizeC") == str(lengths.get("C", 1)):
            channels = [item for item in pixels if item.tag.endswith("}Channel")]
            numbers = [int(item.get("Color", -1)) & 0xFFFFFFFF for item in channels]
            return Described(
                tuple(item.get("Name", "") for item in channels),
                _chosen(_colour(n >> 24, n >> 16 & 255, n >> 8 & 255) for n in numbers),
                any(_emits(item) for item in channels),
            )
    return Described()


def _emits(channel: ElementTree.Element) -> bool:
    return (
        channel.get("ContrastMethod") == "Fluorescence"
        or channel.get("IlluminationType") == "Epifluorescence"
        or channel.get("EmissionWavelength") is not None
        or channel.get("Fluor") is not None
    )


def _by_perkin_elmer(series: Any) -> Described:
    """Take the names of pages: what is stained for brightfield is RGB there, in one page."""
    if "S" in series.axes:
        return Described()
    descriptions = [str(page.description) for page in series.pages if page is not None]
    found = [re.search(r"<Name>([^<]*)</Name>", text) for text in descriptions]
    return Described(tuple("" if one is None else one[1].strip() for one in found), emit=True)


def _by_imagej(tif: Any) -> Described:
    about = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    labels = [re.sub(r"^c:\d+/\d+\s*-?\s*", "", str(label)) for label in about.get("Labels", ())]
    colours = (_colour(*(int(v) for v in table[:, -1])) for table in about.get("LUTs", ()))
    return Described(tuple(labels[:3]), _chosen(colours), named=False)


def _chosen(colours: Any) -> tuple[str, ...]:
    """Leave out what stands there if nobody chose: white."""
    every = tuple(colours)
    return () if "white" in every else every


def _colour(red: int, green: int, blue: int) -> str:
    return _PLAIN.get((red, green, blue), f"#{red:02x}{green:02x}{blue:02x}")
