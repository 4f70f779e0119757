"""Spots that are being placed anew: how they are, step by step, shown on the slide, and applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Place,
    info_of,
    layers_of,
    our_layers,
    pixel_space,
)
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.results.inputs import made_of, spots_made_of
from napari_stenhance.section.registration import STATED, FitKind, Pair, Registration

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_stenhance.plugin.session import Session
    from napari_stenhance.results.run import Run
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section

LANDMARKS = "stenhance_landmarks"
"""In the metadata of a layer of landmarks, which is of nothing that is open."""
STATED_COLOUR, SLIDE_COLOUR = "#ff9f1c", "#00e5ff"
_MARK_PX = 11
_DIGITS = (12, 12, 9)
"""After the comma, of a matrix in pixels: less than a millionth of a pixel on any slide."""
_BY_HAND = "hand"


@dataclass(frozen=True)
class PlacingState:
    """Where spots are placed at one moment.

    Attributes
    ----------
    registration : Registration
        Of the stated positions.
    pairs : tuple of Pair
        Landmarks, whether or not it was fitted to them.
    """

    registration: Registration
    pairs: tuple[Pair, ...] = ()

    @property
    def kept(self) -> Registration:
        """Where spots are placed, with all landmarks, also those that it was not fitted to."""
        return replace(self.registration, pairs=self.pairs)

    def then(self, step: Registration) -> PlacingState:
        """Go on by hand."""
        before = self.registration.made
        kept = before in {_BY_HAND, "a matrix"} or before.endswith(f", and {_BY_HAND}")
        made = (_BY_HAND if self.registration.is_identity else before) if kept else ""
        made = made or f"{before}, and {_BY_HAND}"
        after = self.registration.then(step, made)
        # Steps there and back end exactly where they began: runs are known by it.
        columns = zip(np.array(after.matrix).T, _DIGITS, strict=True)
        matrix = np.column_stack([column.round(digits) for column, digits in columns])
        return replace(self, registration=Registration.from_array(matrix, made, after.pairs))

    def with_pair(self, pair: Pair) -> PlacingState:
        """Add a landmark."""
        return replace(self, pairs=(*self.pairs, pair))

    def without_pairs(self, rows: Sequence[int]) -> PlacingState:
        """Leave landmarks out."""
        return replace(self, pairs=tuple(p for n, p in enumerate(self.pairs) if n not in rows))

    def fitted(self, kind: FitKind) -> PlacingState:
        """Place spots as the landmarks say; raises `InputError` where these cannot say it."""
        fit = Registration.from_pairs(self.pairs, kind, "landmarks set by hand")
        return replace(self, registration=fit)

    def residuals(self) -> NDArray[np.float64]:
        """Return how far each landmark lies from where it belongs, in pixels."""
        return self.kept.residuals()


@dataclass(frozen=True)
class PlacingHistory:
    """The states that the spots of a section went through; none of them is applied yet.

    Attributes
    ----------
    section : Section
        As it is open.
    states : tuple of PlacingState
        The first is how it is open.
    at : int
        Which of them is the one now; those after it were undone.
    """

    section: Section = field(compare=False)
    states: tuple[PlacingState, ...]
    at: int = 0

    @classmethod
    def of_section(cls, section: Section) -> PlacingHistory:
        """Begin with where the spots of a section are."""
        now = section.registration or Registration.identity()
        return cls(section, (PlacingState(now, now.pairs),))

    @property
    def now(self) -> PlacingState:
        """How spots are placed now."""
        return self.states[self.at]

    @property
    def changes(self) -> int:
        """How many steps are not applied: none where they led back to where it began."""
        same = self.now.registration.matrix == self.states[0].registration.matrix
        return 0 if same and self.now.pairs == self.states[0].pairs else self.at

    def do(self, state: PlacingState) -> PlacingHistory:
        """Take a step, if it changes anything; what was undone is gone."""
        if state == self.now:
            return self
        return replace(self, states=(*self.states[: self.at + 1], state), at=self.at + 1)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a step that was undone."""
        return self.at + 1 < len(self.states)

    def undo(self) -> PlacingHistory:
        """Go one step back, if there is one."""
        return replace(self, at=max(self.at - 1, 0))

    def redo(self) -> PlacingHistory:
        """Go one step on, if one was undone."""
        return replace(self, at=min(self.at + 1, len(self.states) - 1))


def stated_px(section: Section) -> NDArray[np.float64]:
    """Return where files state the spots of a section, (n, 2) in pixels."""
    obsm = section.need_spots().obsm
    kept = obsm["spatial" if section.registration is None else STATED]
    return np.asarray(kept, dtype=np.float64)[:, :2]


def middle_of(xy: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of positions: it goes with them, however they are turned."""
    x, y = xy.mean(axis=0)
    return float(x), float(y)


def spots_layers(session: Session, section: Section) -> list[tuple[Layer, LayerInfo]]:
    """List the layers that show the spots of a section."""
    return [(one, i) for one, i in layers_of(session.viewer, "spots") if i.section is section]


def name_seen(session: Session, section: Section) -> str:
    """Return the name of a section, with a number where others that are open have it too."""
    places = [info.place for _, info in our_layers(session.viewer) if info.section is section]
    return next((place.name for place in places if place is not None), section.name)


def to_px(section: Section, place: Place, world: Sequence[float]) -> NDArray[np.float64]:
    """Return (x, y) in pixels of the slide of a position of the world (…, y, x)."""
    at = np.asarray(world, dtype=np.float64)[-2:] - place.origin
    return np.asarray(at[::-1] / (section.mpp or 1.0))


def show_placing(
    session: Session,
    section: Section,
    state: PlacingState,
    pending: tuple[float, float] | None = None,
) -> None:
    """Show the spots of a section where they are placed now, and its landmarks.

    What is drawn stays as it is: the layer is moved as a whole, at once however many spots it has.

    Parameters
    ----------
    session : Session
    section : Section
        As it is open.
    state : PlacingState
    pending : tuple of float, optional
        Where a landmark is stated, (x, y) in pixels, whose place on the slide is yet to be said.
    """
    before = section.registration or Registration.identity()
    step = before.inverse().then(state.registration)
    mpp = section.mpp or 1.0
    matrix = np.array(step.matrix)
    turn, move = matrix[::-1, 1::-1], matrix[::-1, 2] * mpp
    for layer, info in spots_layers(session, section):
        origin = np.array((0.0, 0.0) if info.place is None else info.place.origin)
        affine = np.eye(3)
        affine[:2, :2] = turn
        affine[:2, 2] = move + origin - turn @ origin
        if not np.array_equal(np.asarray(layer.affine.affine_matrix)[-3:, -3:], affine):
            layer.affine = affine
    _show_landmarks(session, section, state, [] if pending is None else [pending])


def end_placing(session: Session, section: Section) -> None:
    """Show spots where they are again, and no landmarks."""
    now = PlacingState(section.registration or Registration.identity())
    show_placing(session, section, now)


def _show_landmarks(
    session: Session, section: Section, state: PlacingState, pending: list[tuple[float, float]]
) -> None:
    """Show each landmark twice: where it is placed, and where on the slide it belongs."""
    viewer = session.viewer
    there = [layer for layer in viewer.layers if LANDMARKS in layer.metadata]
    if not state.pairs and not pending:
        for layer in there:
            viewer.layers.remove(layer)
        return
    points = np.array(state.pairs, dtype=np.float64).reshape(-1, 4)
    stated = np.array([*points[:, :2], *pending])
    xy = np.concatenate([state.registration(stated), points[:, 2:]])
    first, then = len(stated), len(points)
    labels = [str(n + 1) for n in (*range(first), *range(then))]
    colours = [STATED_COLOUR] * first + [SLIDE_COLOUR] * then
    if there and len(there[0].data) == len(xy):
        there[0].data = xy[:, ::-1]
        return
    active = viewer.layers.selection.active
    places = [info.place for _, info in spots_layers(session, section)]
    origin = next((place.origin for place in places if place is not None), (0.0, 0.0))
    with session.quiet():
        for layer in there:
            viewer.layers.remove(layer)
        attributes = {
            "name": f"landmarks of {section.name}",
            "size": _MARK_PX,
            "symbol": ["cross"] * first + ["disc"] * then,
            "face_color": [STATED_COLOUR] * first + ["transparent"] * then,
            "border_color": colours,
            "border_width": 0.15,
            "features": {"landmark": labels},
            "text": {"string": "landmark", "anchor": "upper_right", "color": "red", "size": 10},
            # Of the screen, whatever a pixel is.
            "canvas_size_limits": (_MARK_PX, _MARK_PX),
            "metadata": {LANDMARKS: section.name},
            "translate": origin,
            **pixel_space(section.mpp),
        }
        add_layers(viewer, [(xy[:, ::-1], attributes, "points")])
    if active is not None and active in viewer.layers:
        viewer.layers.selection.active = active


@dataclass(frozen=True, eq=False)
class PlacedAnew:
    """A section whose spots were placed anew.

    Attributes
    ----------
    section : Section
    spots : tuple
        The layer of its spots.
    """

    section: Section
    spots: LayerData


def place_anew(section: Section, registration: Registration, job: Job) -> PlacedAnew:
    """Place the spots of a section; its slide, and what is known of it, stay.

    Raises
    ------
    InputError
        If most spots lie outside the slide then.
    """
    from napari_stenhance.plugin.layers import section_layers

    chosen = None if registration.is_identity else registration
    new = section.registered(chosen)
    job.check()
    # What tells it from where the spots lay before is known where runs ask for it.
    new.counts_sha256  # noqa: B018
    section.counts_sha256  # noqa: B018
    (spots,) = (
        data for data in section_layers(new) if (i := info_of(data)) and i.role.name == "spots"
    )
    return PlacedAnew(new, spots)


def show_placed(session: Session, old: Section, placed: PlacedAnew) -> Iterator[None]:
    """Let the layers of a section show it with its spots placed anew; others have turns between."""
    viewer = session.viewer
    end_placing(session, old)
    values, attributes, kind = placed.spots
    info = info_of(placed.spots)
    before = spots_layers(session, old)
    assert info is not None
    with session.quiet():
        for layer, _ in before:
            # They are of what is shown no more: else those below would be theirs.
            layer.metadata.pop(KEY)
        for layer, one in before[:1]:
            origin = (0.0, 0.0) if one.place is None else one.place.origin
            moved = tuple(np.add(attributes.get("translate", (0.0, 0.0)), origin))
            metadata = {**attributes["metadata"], KEY: replace(info, place=one.place)}
            looks = {"translate": moved, "metadata": metadata, "opacity": layer.opacity}
            add_layers(viewer, [(values, {**attributes, **looks}, kind)], active=False)
    yield
    with session.quiet():
        for layer, _ in before:
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        for layer, one in our_layers(viewer):
            if one.section is old:
                opened = info.opened if one.opened is not None else None
                layer.metadata[KEY] = replace(one, section=placed.section, opened=opened)
    yield
    place = next((i.place for _, i in spots_layers(session, placed.section)), None)
    session.look_at(place)


def learned_where_they_lay(run: Run, section: Section) -> bool:
    """Tell whether a run was made of the spots of a section where this has them."""
    return section.counts_sha256 in spots_made_of(run)


def said_of_runs(session: Session, before: Set[str]) -> str:
    """Say which runs that are open were made of spots where they lay otherwise; empty for none.

    Parameters
    ----------
    session : Session
    before : set of str
        `counts_sha256` of the current section, each time before its spots were placed anew.
    """
    section = session.section
    if section is None or not before:
        return ""
    # A result that was opened may hold runs of more places than these.
    slide = None if section.slide is None else section.slide.state.known_sha256
    runs = []
    for run in session.runs():
        own = slide is not None and slide in {one.get("slide_sha256") for one in made_of(run)}
        made = spots_made_of(run) - {None}
        if made and section.counts_sha256 not in made and (own or before & made):
            runs.append(run)
    if not runs:
        return ""
    names = ", ".join(run.name for run in runs)
    return (
        f"Made of the spots where they lay before, and left as made: {names}. Run again for these "
        "places."
    )
