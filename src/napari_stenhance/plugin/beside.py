"""Labels, macros and other images of a slide's file, on demand: they may show names of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, Role, layers_of, pixel_space
from napari_stenhance.plugin.levels import slide_levels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section

BESIDE = Role("beside", 0, covers=False)
_HEIGHT, _GAP = 0.3, 0.03
"""Of the slide's height."""


def beside_layer(section: Section, name: str, left: float, job: Job | None = None) -> LayerData:
    """Make the layer of another image of a slide's file: below the slide, and not to scale.

    Parameters
    ----------
    section : Section
    name : str
        Of the image, as the slide lists it.
    left : float
        Where it begins, in units of the section's layers: right of those that are shown already.
    job : Job, optional
        Receives the progress of building a pyramid.

    Raises
    ------
    InputError
        If it cannot be shown.
    """
    from napari_stenhance.section.slide import Slide

    slide = section.need_slide()
    image = Slide.open(slide.path, series=name, icc=slide.icc, job=job)
    pixel = section.mpp or 1.0
    side = _HEIGHT * slide.shape[0] * pixel
    scale = side / image.shape[0]
    gap = _GAP * slide.shape[0] * pixel
    space = pixel_space(section.mpp) | {
        "scale": (scale, scale),
        "translate": (
            (scale - pixel) / 2 + slide.shape[0] * pixel + gap,
            (scale - pixel) / 2 + left + (gap if left else 0),
        ),
    }
    info = LayerInfo(BESIDE, section.name, section=section, part=name)
    attributes = {
        "name": f"{section.name}: {name} (not to scale)",
        "rgb": True,
        "multiscale": True,
        "metadata": info.metadata(),
        **space,
    }
    return slide_levels(image), attributes, "image"


def shown_beside(viewer: ViewerModel, section: Section) -> dict[str, Layer]:
    """Return the layers of the other images of a slide's file, by the images' names."""
    found = layers_of(viewer, BESIDE.name)
    return {info.part: layer for layer, info in found if info.section is section}
