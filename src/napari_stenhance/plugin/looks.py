"""What was looked at when layers were saved, so that it is looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np

from napari_stenhance.plugin.asked_for import LookedAt
from napari_stenhance.plugin.camera import move_camera
from napari_stenhance.plugin.colours import KINDS
from napari_stenhance.plugin.display import image_colormap
from napari_stenhance.plugin.layer_info import LayerInfo, Place, Role, our_layers
from napari_stenhance.plugin.places import find_place
from napari_stenhance.plugin.section_runs import runs_of
from napari_stenhance.results.channels import COLOURS, Channel
from napari_stenhance.results.field import What
from napari_stenhance.scoring.metrics import RELIABLE_R

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.colormaps import Colormap

    from napari_stenhance.plugin.links import LinksIn
    from napari_stenhance.results.run import Run

_ROLE = Role("look", 0)


class Looking(LookedAt, Protocol):
    """What looks, as a session does."""

    limits: tuple[float, float] | None
    limits_chosen: bool
    colormaps: dict[str, Colormap]
    least_r: float
    panels: tuple[str, ...]

    def look_at(self, *, gene: str, what: What, channels: tuple[Channel, ...]) -> None: ...
    def keep_limits(self, limits: tuple[float, float]) -> None: ...


@dataclass(frozen=True)
class SavedCamera:
    """Where the camera stood.

    Attributes
    ----------
    centre : tuple of float
        (y, x) from where the section lies, in units of the world.
    zoom : float
        Pixels of the screen for each of these.
    """

    centre: tuple[float, float]
    zoom: float

    @classmethod
    def of(cls, viewer: ViewerModel, place: Place) -> SavedCamera:
        """Read where the camera of a viewer stands."""
        camera = viewer.scene.camera
        y, x = (float(n) for n in np.subtract(camera.center[-2:], place.origin))
        return cls((y, x), float(camera.zoom))

    def move(self, viewer: ViewerModel, place: Place) -> None:
        """Let the camera of a viewer stand there."""
        viewer.scene.camera.center = (0.0, *np.add(self.centre, place.origin))
        viewer.scene.camera.zoom = self.zoom


@dataclass(frozen=True, eq=False)
class SavedLook:
    """What a session looked at.

    Attributes
    ----------
    of : LayerInfo
        Of something that lies where it looked.
    run : Run or None
    gene : str
    what : {"expression", "spread"}
    channels : tuple of Channel
    with_spots : bool
    limits : tuple of float, or None
        That the user has set.
    colormaps : mapping of str to Colormap
        Those that the user has set, by what is shown in them, of `KINDS`.
    least_r : float
        Of a gene that is taken to be reliable.
    camera : SavedCamera or None
    panels : tuple of str
        Which were unfolded, the last one last.
    """

    of: LayerInfo
    run: Run | None
    gene: str
    what: What
    channels: tuple[Channel, ...]
    with_spots: bool
    limits: tuple[float, float] | None
    colormaps: Mapping[str, Colormap]
    least_r: float = RELIABLE_R
    camera: SavedCamera | None = None
    panels: tuple[str, ...] = ()


def look_of(session: Looking) -> SavedLook | None:
    """Return what is looked at; None if nothing is."""
    here = (info for _, info in our_layers(session.viewer) if info.place is session.place)
    of = next(here, None)
    if session.place is None or of is None:
        return None
    limits = session.limits if session.limits_chosen else None
    said = session.gene, session.what, session.channels, session.with_spots
    return SavedLook(
        of,
        session.run,
        *said,
        limits,
        dict(session.colormaps),
        session.least_r,
        SavedCamera.of(session.viewer, session.place),
        session.panels,
    )


def look_as(session: Looking, look: SavedLook) -> bool:
    """Look at what was looked at, if that is open; tell whether it is."""
    place = find_place(session.viewer, look.of)
    runs = {run.key: run for run in runs_of(session.viewer, place)}
    if place is None or (look.run is not None and look.run.key not in runs):
        return False
    moved = place is not session.place
    session.place, session.run = place, None if look.run is None else runs[look.run.key]
    session.with_spots, session.least_r = look.with_spots, look.least_r
    session.panels = look.panels or session.panels
    session.colormaps.update(look.colormaps)
    session.look_at(gene=look.gene, what=look.what, channels=look.channels)
    if look.limits is not None and not session.channels:
        session.keep_limits(look.limits)
    if look.camera is not None:
        look.camera.move(session.viewer, place)
    elif moved:
        move_camera(session.viewer, place)
    return True


def look_to_json(
    look: SavedLook, saved: Iterable[tuple[LayerInfo, Mapping[str, Any]]]
) -> dict[str, Any] | None:
    """Write it with the numbers of links; None where what it looks at is not saved.

    Parameters
    ----------
    look : SavedLook
    saved : iterable of (LayerInfo, mapping)
        Layers that are saved, and what is said of what each shows.
    """
    of = run = None
    for info, shows in saved:
        if info.place is not look.of.place:
            continue
        link = {key: shows[key] for key in ("section", "run") if key in shows}
        of = of or link or None
        if look.run is not None and info.of_run == look.run.key:
            run = link.get("run")
    if of is None or (look.run is not None and run is None):
        return None
    return {
        "of": of,
        "run": run,
        "gene": look.gene,
        "what": look.what,
        "channels": [
            {"gene": c.gene, "colour": c.colour, "limits": list(c.limits), "settled": c.settled}
            for c in look.channels
        ],
        "with_spots": look.with_spots,
        "limits": None if look.limits is None else list(look.limits),
        "colormaps": {kind: image_colormap(one) for kind, one in look.colormaps.items()},
        "least_r": look.least_r,
        "camera": None
        if look.camera is None
        else {"centre": list(look.camera.centre), "zoom": look.camera.zoom},
        "panels": list(look.panels),
    }


def look_from_json(said: Mapping[str, Any], links: LinksIn) -> SavedLook | None:
    """Read it; None where the section that it looked at is gone.

    Where only its run is, it looks at what was measured of the same gene.

    Raises
    ------
    ValueError
        If it says something that cannot be.
    """
    run = None if said["run"] is None else links.run(int(said["run"]))[0]
    of, section = said["of"], None
    if "section" in of:
        section = links.section(int(of["section"]))[0]
    shown = links.run(int(of["run"]))[0] if "run" in of else None
    gone = said["run"] is not None and run is None
    if section is None and (shown is None or gone):
        return None
    if said["what"] not in get_args(What):
        msg = f"{said['what']!r} cannot be shown of a gene"
        raise ValueError(msg)
    channels = []
    for one in [] if gone else said["channels"]:
        if one["colour"] not in COLOURS:
            msg = f"{one['colour']!r} is the colour of no channel"
            raise ValueError(msg)
        limits = _limits(one["limits"])
        channels.append(
            Channel(str(one["gene"]), one["colour"], limits, settled=bool(one["settled"]))
        )
    return SavedLook(
        LayerInfo(_ROLE, "", section=section, run=shown),
        run,
        str(said["gene"]),
        "expression" if gone else said["what"],
        tuple(channels),
        bool(said["with_spots"]) or gone,
        None if said["limits"] is None or gone else _limits(said["limits"]),
        # Before, none was kept.
        {kind: _colormap(kind, one) for kind, one in said.get("colormaps", {}).items()},
        float(said.get("least_r", RELIABLE_R)),
        _camera(said.get("camera")),
        tuple(map(str, said.get("panels", ()))),
    )


def _camera(said: Any) -> SavedCamera | None:
    if said is None:
        return None
    y, x, zoom = (float(n) for n in (*said["centre"], said["zoom"]))
    if not np.isfinite((y, x)).all() or not 0 < zoom < np.inf:
        msg = f"no camera stands at {y}, {x} with a zoom of {zoom}"
        raise ValueError(msg)
    return SavedCamera((y, x), zoom)


def _colormap(kind: str, said: Any) -> Colormap:
    from napari.utils.colormaps import Colormap, ensure_colormap

    if kind not in KINDS:
        msg = f"nothing of the kind {kind!r} is shown in colours"
        raise ValueError(msg)
    return ensure_colormap(said if isinstance(said, str) else Colormap(**said))


def _limits(values: Any) -> tuple[float, float]:
    low, high = map(float, values)
    return low, high
