"""What the groups of a result say of themselves, with a checksum over all their attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import zarr

from napari_stenhance.errors import InputError
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import Section
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.checked import folder_of
from napari_stenhance.storage.reading import reading
from napari_stenhance.storage.seal import json_crc32

KEY = "stenhance"
_SEAL = "crc32"
_NOT_THAT = "its attributes are not what they should be"
ADVICE = "copy the result again, or delete it and run the same command again"


def write_attributes(group: zarr.Group, said: Mapping[str, Any], **others: Any) -> None:
    """Write what a group says of itself, and other attributes, all at once.

    Parameters
    ----------
    group : zarr.Group
    said : mapping
        All of it.
    **others
        Attributes beside it; those that are there already stay.
    """
    group.attrs.put(sealed(said, **{**group.attrs, **others}))


def sealed(said: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """Return the attributes of a group that says this of itself, with their checksum."""
    attributes = {**others, KEY: dict(said)}
    return {**attributes, KEY: {**said, _SEAL: json_crc32(attributes)}}


def read_attributes(group: zarr.Group, *, proven: bool) -> dict[str, Any]:
    """Read what a group says of itself.

    Parameters
    ----------
    group : zarr.Group
    proven : bool
        Whether there must be a checksum: results of format 1 have none.

    Raises
    ------
    InputError
        If it is not what was written, or nothing was.
    """
    said = group.attrs.get(KEY)
    if isinstance(said, dict):
        content = {key: value for key, value in said.items() if key != _SEAL}
        if _SEAL not in said and not proven:
            return content
        if said.get(_SEAL) == json_crc32({**group.attrs, KEY: content}):
            return content
    msg = f"{folder_of(group) / 'zarr.json'}: this is damaged (its attributes are not what was "
    msg += f"written); {ADVICE}."
    raise InputError(msg)


def read_run_attributes(group: zarr.Group, *, proven: bool) -> dict[str, Any]:
    """Read what a run says of itself, and check what is used of it; as `read_attributes`."""
    attributes = read_attributes(group, proven=proven)
    with reading(folder_of(group) / "zarr.json", "what the run says of itself", ADVICE):
        Grid.from_dict(attributes["grid"])
        learned = attributes["identity"].get("learned_from", [])
        whole = isinstance(attributes["complete"], bool)
        whole = whole and all(isinstance(one["name"], str) for one in learned)
        if not (whole and all(isinstance(doubt, str) for doubt in attributes.get("doubts", []))):
            raise ValueError(_NOT_THAT)
    return attributes


def check_root(attributes: Mapping[str, Any]) -> None:
    """Check what is used of a root's attributes, which format 1 does not prove.

    Raises
    ------
    ValueError
        If it cannot be.
    """
    whole = all(isinstance(run, str) and "/" not in run for run in attributes["runs"])
    of = attributes["slide"] if "slide" in attributes else attributes["spots"]
    whole = whole and isinstance(of["name"], str) and isinstance(of["sha256"], str)
    if of["mpp"] is not None or "slide" in attributes:
        whole = whole and 0 < float(of["mpp"]) < math.inf
    if "slide" in attributes:
        rows, columns = of["shape"]
        whole = whole and min(rows, columns) > 0
        whole = whole and isinstance(of.get("series", ""), str)
    if not whole:
        raise ValueError(_NOT_THAT)


def describe_input(of: Slide | Section) -> dict[str, Any]:
    """Return what the root says about the slide, or about spots that have none."""
    slide = of.slide if isinstance(of, Section) else of
    if slide is None or (isinstance(of, Section) and of.mpp is None):
        assert isinstance(of, Section)
        return {
            "spots": {
                "name": of.name,
                "sha256": of.counts_sha256,
                "mpp": of.mpp,
                "unit": "pixel" if of.mpp is None else "micrometer",
            }
        }
    return {
        "slide": {
            "name": slide.name,
            "sha256": slide.sha256,
            **({"series": slide.series} if slide.series is not None else {}),
            **({} if slide.icc else {"icc": False}),
            **({"conversions": list(slide.conversions)} if slide.conversions else {}),
            "shape": list(slide.shape),
            "mpp": slide.scale(),
            "mpp_source": slide.mpp_source,
        }
    }
