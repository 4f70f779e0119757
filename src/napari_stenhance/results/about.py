"""What the groups of a result say of themselves, with a checksum over all their attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import zarr

from napari_stenhance.errors import InputError
from napari_stenhance.methods.training_section import counts_hash
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import Section
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.checked import folder_of
from napari_stenhance.storage.seal import json_crc32

KEY = "stenhance"
_SEAL = "crc32"
ADVICE = "copy the result again, or delete it and run the same command again"


def write_about(group: zarr.Group, about: Mapping[str, Any], **others: Any) -> None:
    """Write what a group says of itself, and other attributes, all at once.

    Parameters
    ----------
    group : zarr.Group
    about : mapping
        All of it.
    **others
        Attributes beside it; those that are there already stay.
    """
    group.attrs.put(sealed(about, **{**group.attrs, **others}))


def sealed(about: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """Return the attributes of a group that says this of itself, with their checksum."""
    attributes = {**others, KEY: dict(about)}
    return {**attributes, KEY: {**about, _SEAL: json_crc32(attributes)}}


def read_about(group: zarr.Group, *, proven: bool) -> dict[str, Any]:
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
    about = group.attrs.get(KEY)
    if isinstance(about, dict):
        content = {key: value for key, value in about.items() if key != _SEAL}
        if _SEAL not in about and not proven:
            return content
        if about.get(_SEAL) == json_crc32({**group.attrs, KEY: content}):
            return content
    msg = f"{folder_of(group) / 'zarr.json'}: this is damaged (its attributes are not what was "
    msg += f"written); {ADVICE}."
    raise InputError(msg)


def check_root(about: Mapping[str, Any]) -> None:
    """Check what is used of a root's attributes, which format 1 does not prove.

    Raises
    ------
    ValueError
        If it cannot be.
    """
    whole = all(isinstance(run, str) and "/" not in run for run in about["runs"])
    of = about["slide"] if "slide" in about else about["spots"]
    whole = whole and isinstance(of["name"], str) and isinstance(of["sha256"], str)
    if of["mpp"] is not None or "slide" in about:
        whole = whole and 0 < float(of["mpp"]) < math.inf
    if "slide" in about:
        rows, columns = of["shape"]
        whole = whole and min(rows, columns) > 0
    if not whole:
        msg = "its attributes are not what they should be"
        raise ValueError(msg)


def check_run_about(about: Mapping[str, Any]) -> None:
    """Check what is used of a run's attributes; as `check_root`.

    Raises
    ------
    ValueError
        If it cannot be.
    """
    Grid.from_dict(about["grid"])
    learned = about["identity"].get("learned_from", [])
    whole = isinstance(about["complete"], bool)
    whole = whole and all(isinstance(one["name"], str) for one in learned)
    if not (whole and all(isinstance(doubt, str) for doubt in about.get("doubts", []))):
        msg = "its attributes are not what they should be"
        raise ValueError(msg)


def describe_input(of: Slide | Section) -> dict[str, Any]:
    """Return what the root says about the slide, or about spots that have none."""
    slide = of.slide if isinstance(of, Section) else of
    if slide is None or (isinstance(of, Section) and of.mpp is None):
        assert isinstance(of, Section)
        return {
            "spots": {
                "name": of.name,
                "sha256": counts_hash(of),
                "mpp": of.mpp,
                "unit": "pixel" if of.mpp is None else "micrometer",
            }
        }
    return {
        "slide": {
            "name": slide.name,
            "sha256": slide.sha256,
            "shape": list(slide.shape),
            "mpp": slide.scale(),
            "mpp_source": slide.mpp_source,
        }
    }
