"""Sections and results as napari layers: everything in micrometres, exactly aligned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_stenhance.plugin.levels import contrast, field_levels, image_levels, slide_levels
from napari_stenhance.plugin.shown import Shown, open_sections, shown
from napari_stenhance.plugin.spots import TOTAL, SpotColours, label

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer, Points

    from napari_stenhance.methods.field import GeneField, What
    from napari_stenhance.results.result import Result
    from napari_stenhance.section.region import Region
    from napari_stenhance.section.section import Section

LayerData = tuple[Any, dict[str, Any], str]
"""(data, attributes, layer type), as npe2 readers return them."""

GENE_COLORMAP = "magma"
_REGION_COLOUR = "#00c8ff"


def _space(mpp: float | None) -> dict[str, Any]:
    """Return scale and units of data in full-resolution pixels."""
    unit = "pixel" if mpp is None else "micrometer"
    return {
        "scale": (mpp or 1.0,) * 2,
        "units": (unit, unit),
        "axis_labels": ("y", "x"),
    }


def section_layers(section: Section) -> list[LayerData]:
    """Make the layers of a section: slide, spots, and an empty one to draw regions in."""
    layers = []
    if section.slide is not None:
        about = Shown("slide", section.name, section=section)
        attributes = {
            "name": section.name,
            "rgb": True,
            "multiscale": True,
            "metadata": about.metadata(),
            **_space(section.mpp),
        }
        layers.append((slide_levels(section.slide), attributes, "image"))
    if section.spots is not None:
        layers.append(_spots_layer(section))
    if section.slide is not None:
        layers.append(region_layer(section.name, section.mpp, section=section))
    return layers


def _spots_layer(section: Section) -> LayerData:
    spots, geometry = section.need_spots(), section.geometry()
    in_pixels = geometry.unit == "pixel" or section.mpp is None
    diameter = geometry.spot_diameter_um / (1.0 if in_pixels else section.mpp or 1.0)
    colours = SpotColours.of(spots)
    attributes = {
        "name": label(section.name, TOTAL),
        "size": diameter,
        "symbol": geometry.spot_shape,
        "border_width": 0,
        "face_color": colours.rgba(TOTAL),
        "features": {"spot": np.asarray(spots.obs_names, dtype=object)},
        "opacity": 0.8,
        "metadata": Shown("spots", section.name, section=section, colours=colours).metadata(),
        **_space(section.mpp),
    }
    return np.asarray(spots.obsm["spatial"], np.float64)[:, 1::-1], attributes, "points"


def region_layer(
    name: str, mpp: float | None, region: Region | None = None, section: Section | None = None
) -> LayerData:
    """Make a layer with a slide's transform to draw polygons in, or with those of a region."""
    attributes = {
        "name": f"{name} region",
        "ndim": 2,
        "shape_type": "polygon",
        "edge_color": _REGION_COLOUR,
        "face_color": "transparent",
        # In pixels of the slide: about three pixels of the screen when a section fills it.
        "edge_width": 20 / (mpp or 1.0),
        "metadata": Shown("region", name, section=section).metadata(),
        **_space(mpp),
    }
    polygons = None
    if region is not None:
        parts = getattr(region.area, "geoms", [region.area])
        polygons = [np.asarray(p.exterior.coords)[:-1, ::-1] / (mpp or 1.0) for p in parts]
    return polygons, attributes, "shapes"


def gene_layer(
    result: Result, run: str, gene: str, field: GeneField, *, visible: bool
) -> LayerData:
    """Make the layer of a gene whose image the result holds: it reads from there."""
    from napari_stenhance.results.genes import gene_group
    from napari_stenhance.storage.pyramid import open_levels

    group = gene_group(result, run, gene)
    assert group is not None
    about = Shown("gene", _name(result), result=result.path, run=run, gene=gene, field=field)
    title = f"{_title(result, run)} {gene} [{field.unit}]"
    return _image(image_levels(open_levels(group)), field, title, about, visible=visible)


def browse_layer(
    result: Result, run: str, gene: str, field: GeneField, *, visible: bool
) -> LayerData:
    """Make the one layer of a run that shows any gene, decoded when it is looked at."""
    about = Shown("browse", _name(result), result=result.path, run=run, gene=gene, field=field)
    title = _browse_title(_title(result, run), gene, field, "latent")
    return _image(field_levels(field, gene), field, title, about, visible=visible)


def _image(
    levels: Sequence[Any], field: GeneField, title: str, about: Shown, *, visible: bool
) -> LayerData:
    grid = field.grid
    attributes = {
        "name": title,
        "rgb": False,
        "multiscale": True,
        # dask's cache would show old tiles of a run that is still being filled.
        "cache": False,
        "contrast_limits": contrast(levels),
        "colormap": GENE_COLORMAP,
        "blending": "translucent",
        "opacity": 0.75,
        "visible": visible,
        "metadata": about.metadata(),
        "scale": (grid.scale_um(),) * 2,
        "translate": (grid.translation_um(),) * 2,
        "units": ("micrometer",) * 2,
        "axis_labels": ("y", "x"),
    }
    return levels, attributes, "image"


def _name(result: Result) -> str:
    return str(result.about["slide"]["name"])


def _title(result: Result, run: str) -> str:
    """Name the run too where a result has several."""
    return _name(result) if run == result.runs[0] else f"{_name(result)} ({run})"


def _browse_title(name: str, gene: str, field: GeneField, what: What) -> str:
    return f"{name} browse: {gene} {'' if what == 'latent' else 'uncertainty '}[{field.unit}]"


def browse(layer: Image, gene: str, what: What = "latent") -> None:
    """Show another gene, or its spread, in a browse layer."""
    about: Shown = layer.metadata["stenhance"]
    assert about.field is not None
    levels = field_levels(about.field, gene, what)
    layer.metadata["stenhance"] = replace(about, gene=gene)
    layer.data = levels
    set_contrast(layer, contrast(levels))
    layer.name = _browse_title(layer.name.split(" browse:")[0], gene, about.field, what)


def set_contrast(layer: Image, limits: tuple[float, float]) -> None:
    """Set the contrast, and let its slider reach from zero to twice that."""
    layer.contrast_limits_range = (min(0.0, limits[0]), 2 * limits[1])
    layer.contrast_limits = limits


def colour_spots(layer: Points, gene: str) -> None:
    """Colour spots by a gene that was measured."""
    about: Shown = layer.metadata["stenhance"]
    assert about.colours is not None
    layer.metadata["stenhance"] = replace(about, gene=gene)
    layer.face_color = about.colours.rgba(gene)
    layer.name = label(about.name, gene)


def best_gene(field: GeneField) -> str:
    """Return the gene that was predicted best on held-out spots."""
    scores = np.nan_to_num(field.decoder.held_out_r, nan=-np.inf)
    return field.genes[int(np.argmax(scores))]


def run_layers(result: Result, run: str) -> list[LayerData]:
    """Make the layers of a run: those of its genes, and one to browse all others."""
    from napari_stenhance.results.genes import written_genes

    field, genes = result.field(run), written_genes(result, run)
    layers = [browse_layer(result, run, best_gene(field), field, visible=not genes)]
    for n, gene in enumerate(genes):
        layers.append(gene_layer(result, run, gene, field, visible=n == 0))
    region = result.region(run)
    if region is not None:
        layers.append(region_layer(_title(result, run), field.grid.mpp, region))
    return layers


def result_layers(result: Result, slide: Section | None) -> list[LayerData]:
    """Make the layers of a result: its slide, if it was found, and every run that has a field."""
    layers = [] if slide is None else section_layers(slide)
    for run in result.runs:
        if result.run_attributes(run).get("field_created"):
            layers += run_layers(result, run)
    return layers


def add_layers(viewer: ViewerModel, layers: Sequence[LayerData]) -> list[Layer]:
    """Add layers, gene images under the spots, with a scale bar and colour bars.

    A result brings its slide with it; where that is open already it is not added again.

    Returns
    -------
    list of Layer
        Those that were added.
    """
    from napari.layers import Layer as LayerClass

    first = not len(viewer.layers)
    there = {s.slide.sha256 for s in open_sections(viewer) if s.slide is not None}
    added = []
    for data in layers:
        section = data[1]["metadata"]["stenhance"].section
        if section is not None and section.spots is None and section.slide.sha256 in there:
            continue
        layer = viewer.add_layer(LayerClass.create(*data))
        if layer.metadata["stenhance"].role in {"gene", "browse"}:
            layer.colorbar.visible = True
            images = [n for n, other in enumerate(viewer.layers[:-1]) if _is_image(other)]
            viewer.layers.move(len(viewer.layers) - 1, max(images, default=-1) + 1)
        added.append(layer)
    viewer.canvas.overlays.scale_bar.visible = True
    shown_images = [layer for layer in added if layer.visible and _is_image(layer)]
    if shown_images:
        viewer.layers.selection.active = shown_images[-1]
    if first:
        viewer.reset_view()
    return added


def _is_image(layer: Layer) -> bool:
    about = shown(layer)
    return about is not None and about.role in {"slide", "gene", "browse"}


def polygons_um(layer: Layer, slide: Layer) -> list[shapely.Polygon]:
    """Return what was drawn in a shapes layer as polygons in micrometres of a slide.

    Rectangles and ellipses count; lines and paths, which have no area, do not.
    """
    mpp = float(slide.scale[-1])
    polygons = []
    for corners, kind in zip(layer.data, layer.shape_type, strict=True):
        if kind in {"line", "path"}:
            continue
        outline = _ellipse(corners) if kind == "ellipse" else np.asarray(corners)
        pixels = [slide.world_to_data(layer.data_to_world(p[-2:])) for p in outline]
        polygons.append(shapely.Polygon(np.asarray(pixels)[:, ::-1] * mpp))
    return polygons


def _ellipse(corners: Any, points: int = 64) -> Any:
    """Sample the ellipse that touches the middles of a box's four sides."""
    corners = np.asarray(corners)
    centre = corners.mean(axis=0)
    a, b = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)[:, None]
    return centre + np.cos(turn) * a + np.sin(turn) * b


def open_layers(
    path: Path, mpp: float | None = None, job: Any = None
) -> tuple[list[LayerData], Any]:
    """Open a section or a result; return its layers and what was opened."""
    from napari_stenhance.errors import InputError
    from napari_stenhance.results.result import Result
    from napari_stenhance.section.section import Section, open_section
    from napari_stenhance.section.slide import Slide

    if not Result.is_result(path):
        section = open_section(path, mpp=mpp, job=job)
        return section_layers(section), section
    result = Result.open(path)
    about, slide = result.about["slide"], None
    where = result.slide_path()
    if where is not None and where.is_file():
        try:
            found = Slide.open(where, name=about["name"], mpp=about["mpp"], job=job)
            if found.sha256 == about["sha256"]:
                slide = Section(slide=found)
        except InputError:
            slide = None
    return result_layers(result, slide), result
