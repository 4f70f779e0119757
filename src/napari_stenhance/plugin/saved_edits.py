"""What a person changed of domains and has not written to the result, in saved layers and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.domains import DOMAINS, PAINTING
from napari_stenhance.plugin.layer_info import KEY, LayerData, info_of, our_layers
from napari_stenhance.results.domain_edit import DomainEdit, SpotLabels
from napari_stenhance.results.domains import DomainRun
from napari_stenhance.results.edit_history import EditHistory
from napari_stenhance.results.label_map import LABELS_MOST
from napari_stenhance.results.summaries import Domain

if TYPE_CHECKING:
    import zarr
    from napari.components import ViewerModel

RunKey = tuple[Path, str, str]


def write_edits(folder: zarr.Group, where: str, edits: EditHistory) -> dict[str, Any]:
    """Write the steps after what the run has; each label image that was painted, once.

    Parameters
    ----------
    folder : zarr group
        The save.
    where : str
        What lies in it, for label images.
    edits : EditHistory

    Returns
    -------
    dict
        As JSON.
    """
    painted: list[Any] = []
    steps = []
    for edit in edits.edits[1:]:
        number = None
        if edit.painted is not None:
            number = next((n for n, one in enumerate(painted) if one is edit.painted), len(painted))
            if number == len(painted):
                painted.append(edit.painted)
                folder.create_array(f"{where}/{number}", data=edit.painted)
        domains = [asdict(domain) for domain in edit.domains]
        steps.append({"domains": domains, "merged": sorted(edit.merged.items()), "painted": number})
    return {"where": where, "steps": steps, "at": edits.at}


def kept_edits(layers: Iterable[LayerData]) -> dict[RunKey, DomainEdit]:
    """Return the domains of each run as layers hold them that are saved, with what was painted."""
    infos = [(data[0], info) for data in layers if (info := info_of(data)) is not None]
    kept = {
        info.of_run: info.edits.now
        for _, info in infos
        if info.role is DOMAINS and info.edits is not None and info.of_run is not None
    }
    for pixels, info in infos:
        if info.role is PAINTING and info.of_run in kept:
            edit = kept[info.of_run]
            if not np.array_equal(pixels, edit.raster()):
                # A label that can be no domain is said where the painting ends.
                with suppress(InputError):
                    kept[info.of_run] = edit.paint(pixels)
    return kept


def keep_edits(viewer: ViewerModel, kept: Mapping[RunKey, DomainEdit]) -> None:
    """Remember, at the layers of domains, what of them was saved."""
    for layer, info in our_layers(viewer):
        if info.edits is not None and info.of_run in kept:
            edits = replace(info.edits, kept=kept[info.of_run])
            layer.metadata[KEY] = replace(info, edits=edits)


def read_edits(folder: zarr.Group, said: Mapping[str, Any], run: DomainRun) -> EditHistory:
    """Read what was done to a run.

    Raises
    ------
    ValueError
        If it can be no change of this run.
    """
    painted: dict[int, Any] = {}
    first = DomainEdit.from_run(run)
    edits = [first]
    for step in said["steps"]:
        number, image = step["painted"], None
        if number is not None:
            if number not in painted:
                painted[number] = _image(folder[f"{said['where']}/{number}"], run)
            image = painted[number]
        domains = tuple(Domain(**domain) for domain in step["domains"])
        merged = {int(old): int(new) for old, new in step["merged"]}
        values = [domain.value for domain in domains]
        lost = set(merged.values()) - set(values)
        if lost or not {*values, *merged} <= set(range(1, LABELS_MOST + 1)):
            msg = "a change is of a domain that cannot be"
            raise ValueError(msg)
        edit = DomainEdit(run, domains, merged, image)
        try:
            for domain in domains:
                edit.recolour(domain.value, domain.colour).rename(domain.value, domain.name)
        except InputError as error:
            raise ValueError(str(error)) from error
        edits.append(edit)
    at = int(said["at"])
    if not 0 <= at < len(edits):
        msg = f"there is no change {at}"
        raise ValueError(msg)
    spots = run.spots()
    return EditHistory(
        tuple(edits), at, spots=None if spots is None else SpotLabels.from_run(run, spots)
    )


def _image(array: Any, run: DomainRun) -> np.ndarray[Any, np.dtype[np.uint8]]:
    shape = tuple(run.levels[0].shape)
    if tuple(array.shape) != shape or array.dtype != np.uint8:
        msg = f"a painted label image is {array.dtype} of {array.shape}, and not uint8 of {shape}"
        raise ValueError(msg)
    return np.asarray(array[...])
