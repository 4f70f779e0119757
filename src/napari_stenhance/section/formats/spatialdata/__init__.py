"""SpatialData stores: a table of spots or cells, the shapes that it annotates, and an image."""

from __future__ import annotations

import json
from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, SectionFormat, names_in

_ATTRIBUTE = b"spatialdata_attrs"
_MOST = 2**24


def _recognise(path: Path) -> bool:
    """Take a store with a table; of one without, its images are slides each."""
    if not path.is_dir():
        return False
    for name in ("zarr.json", ".zattrs"):
        try:
            with (path / name).open("rb") as file:
                content = file.read(_MOST)
            said = json.loads(content) if _ATTRIBUTE in content else {}
        except (OSError, ValueError, RecursionError):
            continue
        attributes = said.get("attributes", said) if isinstance(said, dict) else {}
        if "spatialdata_attrs" in attributes and "multiscales" not in attributes:
            inside = [*names_in(path / "tables"), *names_in(path / "table")]
            return any(name != "zarr.json" for name in inside)
    return False


def _open(path: Path, sample: str | None = None) -> SectionFiles:
    from napari_stenhance.section.formats.spatialdata.spots import open_spatialdata

    return open_spatialdata(path, sample)


FORMAT = SectionFormat(
    "a SpatialData store with a table (….zarr)", _recognise, _open, _open, order=-1
)
