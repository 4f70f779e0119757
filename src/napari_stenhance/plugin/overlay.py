"""Two sections of a block laid over one another, on one scale, with the regions of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.compared_view import ComparedView
from napari_stenhance.plugin.comparison import (
    COMPARED,
    Comparison,
    side_layer,
    slide_under,
)
from napari_stenhance.plugin.drawn import add_regions, drawn_regions
from napari_stenhance.plugin.layer_info import LayerData, Place, layer_info, layers_of
from napari_stenhance.plugin.looks import SavedCamera
from napari_stenhance.plugin.outlined import outlined_at
from napari_stenhance.plugin.regions import open_region
from napari_stenhance.scoring.likeness import SpotPair
from napari_stenhance.tasks.align import Aligned, align_pair

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.colormaps import Colormap

    from napari_stenhance.plugin.comparison import ComparedSide
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

_ON_LEFT, _ON_RIGHT = "left", "right"
"""What `COMPARED` in the metadata of a layer says of it: which section it is of."""
_FILLED, _FONT = 0.9, 8
_REGIONS = "region", "outlined regions"
_FULL = "stenhance_opacity"
"""In the metadata of such a layer: its opacity where its section alone is seen."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """What was read of two sections that are laid over one another.

    Attributes
    ----------
    comparison : Comparison
        Of spots that were measured on both, the values of each of the right and of the nearest of
        the left.
    aligned : Aligned
        How the right lies over the left.
    """

    comparison: Comparison
    aligned: Aligned

    @property
    def said(self) -> str:
        """Say how the right lies over the left, and what is known of how well."""
        best, aligned = self.aligned.alignment.best, self.aligned
        parts = [f"{best.overlap:.0%} of the area is shared, r of the stain {best.r:.2f}"]
        if aligned.aligned is not None and aligned.as_they_lie is not None:
            parts.append(
                f"r of the expression of nearest spots {aligned.aligned.r:.2f} "
                f"({aligned.as_they_lie.r:.2f} as they lie on their slides)"
            )
        return f"{aligned.said} Evidence: {'; '.join(parts)}."


def read_overlay(
    left: ComparedSide,
    right: ComparedSide,
    gene: str,
    known: Aligned | None,
    cache: Cache,
    job: Job,
) -> Overlay:
    """Read two sides of two sections, and lay the right over the left; a thread does.

    Parameters
    ----------
    left, right : ComparedSide
    gene : str
    known : Aligned or None
        How the right lies over the left, where that was found before.
    cache : Cache
    job : Job

    Raises
    ------
    InputError
        If they are of one section, one has no slide open, or they cannot be compared.
    """
    if left.place is right.place:
        msg = "Both are of one section; choose two sections to lay over one another."
        raise InputError(msg)
    for side in (left, right):
        if side.section is None:
            msg = f"{side.place.name}: open its slide, to see how it lies over another."
            raise InputError(msg)
        if side.section.mpp is None:
            msg = f"{side.place.name}: its scale is not known; give it, to lay it over another."
            raise InputError(msg, option="mpp")
    comparison = Comparison.read(left, right, gene, job)
    aligned = known or align_pair(_section(left), _section(right), cache, job)
    if left.colours is None or right.colours is None:
        return Overlay(replace(comparison, of=""), aligned)
    pair = SpotPair(_section(left), _section(right))
    at = pair.nearest(aligned.alignment.best.way)
    x, y = (
        side.colours.values(gene)[rows]
        for side, rows in zip((left, right), at, strict=True)
        if side.colours is not None
    )
    varies = len(x) > 1 and min(np.ptp(x), np.ptp(y)) > 0
    r = float(np.corrcoef(x, y)[0, 1]) if varies else float("nan")
    of = f"{len(x)} pairs of nearest spots"
    return Overlay(replace(comparison, x=x, y=y, r=r, of=of), aligned)


def _section(side: ComparedSide) -> Section:
    assert side.section is not None
    return side.section


def affine_yx(aligned: Aligned, origin: tuple[float, float]) -> NDArray[np.float64]:
    """Return the map from (y, x) in micrometres of the section to the world, (3, 3).

    Parameters
    ----------
    aligned : Aligned
    origin : tuple of float
        (y, x) of the reference in the world.
    """
    matrix = np.eye(3)
    matrix[:2] = np.asarray(aligned.matrix_um)[::-1][:, [1, 0, 2]]
    matrix[:2, 2] += origin
    return matrix


def overlay_layers(
    viewer: ViewerModel, overlay: Overlay, colormap: Colormap, least_r: float
) -> list[LayerData]:
    """Make the layers of an overlay, from the bottom up: slides, genes, regions of the right."""
    comparison, aligned = overlay.comparison, overlay.aligned
    left, right = comparison.left, comparison.right
    affine = affine_yx(aligned, left.place.origin)
    slides = [side for side in (left, right) if _section(side).slide is not None]
    layers = [(side, slide_under(side)) for side in slides]
    layers += [(side, side_layer(side, comparison, colormap, least_r)) for side in (left, right)]
    layers += [(right, data) for data in _regions_of(viewer, right.place)]
    return [
        _moved(data, left.place) if side is left else _laid(data, affine) for side, data in layers
    ]


def _moved(layer: LayerData, place: Place) -> LayerData:
    data, attributes, kind = layer
    translate = tuple(np.add(attributes.get("translate", (0.0, 0.0)), place.origin))
    marked = {COMPARED: _ON_LEFT, _FULL: attributes.get("opacity", 1.0)}
    return data, {**attributes, "translate": translate, "metadata": marked}, kind


def _laid(layer: LayerData, affine: NDArray[np.float64]) -> LayerData:
    data, attributes, kind = layer
    marked = {COMPARED: _ON_RIGHT, _FULL: attributes.get("opacity", 1.0)}
    return data, {**attributes, "affine": affine, "metadata": marked}, kind


def _regions_of(viewer: ViewerModel, place: Place) -> Iterator[LayerData]:
    """Copy the regions of a section, drawn or of a file, to be seen in its own coordinates."""
    for layer, info in layers_of(viewer, *_REGIONS):
        if info.place is place and len(layer.data):
            values, attributes, kind = layer.as_layer_data_tuple()
            translate = tuple(np.subtract(layer.translate, place.origin))
            # While others are compared it is hidden itself.
            look = {"name": f"{layer.name}, laid over", "translate": translate, "visible": True}
            yield values, {**attributes, **look}, kind


class OverlaidView(ComparedView):
    """A viewer that shows two sections over one another, and nothing else meanwhile."""

    share = 0.5
    """How much of the right section is seen, from 0 to 1; so much less of the left."""

    def lay(self, layers: list[LayerData], place: Place) -> Iterator[None]:
        """Show layers, one a turn; those of the reference lie where they are.

        Parameters
        ----------
        layers : list of tuple
        place : Place
            Of the reference.
        """
        from napari.layers import Layer as LayerClass

        new = self._camera is None
        if new:
            self._camera, self._place = SavedCamera.of(self._viewer, place), place
        self.hide_others()
        for _ in self.layers:
            self.remove_one()
            yield
        for data in layers:
            layer = LayerClass.create(*data)
            with self._quiet():
                self._viewer.layers.append(layer)
            yield
        genes = list(filter(_shows_gene, self.layers))
        bars = [layer for layer in genes if type(layer).__name__ == "Image"]
        with self._quiet():
            for layer in genes:
                layer.name_overlay.font_size, layer.name_overlay.visible = _FONT, True
            for layer in bars[:1]:
                # One scale, one bar.
                layer.colorbar.position, layer.colorbar.visible = "bottom_left", True
        if new:
            self._fit_genes(genes)
        self.blend(self.share)

    def lay_another(self, layers: list[LayerData]) -> Iterator[None]:
        """Show another gene in the layers that are there."""
        left, right = overlaid_genes(layers)
        return self.show_another([[right], [left]])

    def _fit_genes(self, layers: list[Layer]) -> None:
        """Let all that shows the gene be seen, of both sections."""
        boxes = [layer.extent.world for layer in layers]
        low = np.min([box[0] for box in boxes], axis=0)
        high = np.max([box[1] for box in boxes], axis=0)
        camera, room = self._viewer.scene.camera, np.asarray(self._viewer.canvas.size)
        camera.center = (0.0, *((low + high) / 2))
        camera.zoom = _FILLED * float(np.min(room / np.maximum(high - low, 1e-9)))

    def blend(self, share: float) -> None:
        """Show more of the right section, and so much less of the left."""
        self.share = share
        with self._quiet():
            for layer in self.layers:
                right = layer.metadata[COMPARED] == _ON_RIGHT
                # The left slide lies below, and regions are seen of both.
                if (right and type(layer).__name__ not in {"Shapes", "Labels"}) or _shows_gene(
                    layer
                ):
                    layer.opacity = layer.metadata[_FULL] * (share if right else 1 - share)

    def hide_others(self) -> None:
        """Hide what is not compared; regions of the reference lie where they are drawn."""
        super().hide_others()
        with self._quiet():
            for layer, was in self._before.items():
                info = layer_info(layer)
                regions = info is not None and info.role.name in _REGIONS
                if regions and info.place is self._place and layer in self._viewer.layers:
                    layer.visible = was


def overlaid_genes(layers: list[LayerData]) -> list[LayerData]:
    """Return which of the layers of an overlay show the gene: left and right."""
    return [data for data in layers if data[2] in {"points", "image"} and not data[1].get("rgb")]


def _shows_gene(layer: Layer) -> bool:
    kind = type(layer).__name__
    return kind == "Points" or (kind == "Image" and not layer.rgb)


def carry_regions(viewer: ViewerModel, overlay: Overlay) -> int:
    """Draw the regions of the left section on the right one too, where they lie over it.

    Returns
    -------
    int
        How many.

    Raises
    ------
    InputError
        If there are none.
    """
    left, right = overlay.comparison.left, overlay.comparison.right
    drawn = next(
        (one for one, info in layers_of(viewer, "region") if info.place is left.place), None
    )
    regions = None if drawn is None else drawn_regions(drawn, left.place)[0]
    if regions is None or not len(regions.areas):
        msg = f"{left.place.name}: no regions are drawn on it; draw some in the panel Regions."
        if any(True for _ in outlined_at(viewer, left.place)):
            msg = (
                f"{left.place.name}: its regions are of a file, too many to be drawn; save those "
                "that are wanted, and open them there again."
            )
        raise InputError(msg)
    matrix = np.vstack([overlay.aligned.matrix_um, [0, 0, 1]])
    back = np.linalg.inv(matrix)[:2]
    areas = shapely.transform(regions.areas, lambda xy: xy @ back[:, :2].T + back[:, 2])
    section = _section(right)
    carried = replace(regions, areas=areas, measurements=({},) * len(regions.names))
    add_regions(open_region(viewer, section), carried, section.mpp or 1.0)
    return len(regions.names)
