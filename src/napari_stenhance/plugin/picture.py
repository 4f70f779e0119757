"""The picture of a section that has no slide, under its spots: too coarse to predict on."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layer_info import (
    LayerData,
    LayerInfo,
    Opened,
    Role,
    pixel_space,
)

if TYPE_CHECKING:
    from napari_stenhance.section.section import Section

PICTURE = Role("picture", 0, covers=False)


def picture_layers(section: Section, opened: Opened | None) -> list[LayerData]:
    """Make the layer of a section's picture; none where it has a slide, or none can be read."""
    picture = section.picture
    if section.slide is not None or picture is None:
        return []
    try:
        pixels = picture.read()
    except InputError:
        return []
    space = pixel_space(section.mpp)
    fine = space["scale"][0]
    coarse = fine / picture.factor
    attributes = {
        "name": f"{section.name} · coarse picture, not to predict on",
        "rgb": True,
        "metadata": LayerInfo(PICTURE, section.name, section=section, opened=opened).metadata(),
        **space,
        "scale": (coarse, coarse),
        # Its first pixel covers several of the slide: corners lie on each other, not centres.
        "translate": ((coarse - fine) / 2,) * 2,
    }
    return [(pixels, attributes, "image")]


def picture_doubts(section: Section, roles: Collection[Role]) -> tuple[str, ...]:
    """Say what is to be known of a section's picture, from what layers there are of it."""
    picture = section.picture
    if section.slide is not None or picture is None:
        return ()
    if PICTURE not in roles:
        return (f"{picture.name}: this picture cannot be read, and is not shown.",)
    pixel = (section.mpp or 1) / picture.factor
    said = f"The picture under the spots is {picture.name}, too coarse to predict on: each of its "
    return (f"{said}pixels is {pixel:.3g} {'µm' if section.mpp else 'px of the slide'} wide.",)
