"""Sections and results as napari layers: everything in micrometres, exactly aligned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.plugin.crops import crop_layers
from napari_stenhance.plugin.images import image_layer, run_title
from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, Role, pixel_space
from napari_stenhance.plugin.levels import (
    contrast,
    field_levels,
    image_levels,
    label_levels,
    slide_levels,
)
from napari_stenhance.plugin.regions import region_layer
from napari_stenhance.plugin.spots import TOTAL, SpotColours

if TYPE_CHECKING:
    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.results.field import GeneField, What
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.tile_cache import TileCache

_COLORMAP = "magma"


def section_layers(section: Section) -> list[LayerData]:
    """Make the layers of a section: slide, spots, and an empty one to draw regions in."""
    layers = []
    if section.slide is not None:
        about = LayerInfo("slide", section.name, section=section)
        attributes = {
            "name": section.name,
            "rgb": True,
            "multiscale": True,
            "metadata": about.metadata(),
            **pixel_space(section.mpp),
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
    colours = SpotColours.from_spots(spots)
    rgba, _ = colours.paint(TOTAL)
    attributes = {
        "name": colours.label(section.name, TOTAL),
        "size": diameter,
        "symbol": geometry.spot_shape,
        "border_width": 0,
        "face_color": rgba,
        "features": {"spot": np.asarray(spots.obs_names, dtype=object)},
        "opacity": 0.8,
        "metadata": LayerInfo("spots", section.name, section=section, colours=colours).metadata(),
        **pixel_space(section.mpp),
    }
    return np.asarray(spots.obsm["spatial"], np.float64)[:, 1::-1], attributes, "points"


def gene_layer(
    result: ResultFolder, run: str, gene: str, field: GeneField, *, visible: bool
) -> LayerData:
    """Make the layer of a gene whose image the result holds: it reads from there."""
    from napari_stenhance.results.genes import gene_group
    from napari_stenhance.storage.pyramid import open_levels

    group = gene_group(result, run, gene)
    assert group is not None
    about = _of_run("gene", result, run, gene, field)
    title = f"{run_title(result, run)} {gene} [{field.unit}]"
    return _gene_image(image_levels(open_levels(group)), field, title, about, visible=visible)


def browse_layer(
    result: ResultFolder, run: str, gene: str, field: GeneField, *, visible: bool
) -> LayerData:
    """Make the one layer of a run that shows any gene, decoded when it is looked at."""
    about = _of_run("browse", result, run, gene, field)
    title = browse_title(run_title(result, run), gene, field, "latent")
    return _gene_image(field_levels(field, gene), field, title, about, visible=visible)


def _of_run(role: Role, result: ResultFolder, run: str, gene: str, field: GeneField) -> LayerInfo:
    """Read what docks say of a run while its layers are made: later they read nothing."""
    recipe = result.run_attributes(run)["identity"]["recipe"]
    return LayerInfo(
        role,
        result.name,
        result=result.path,
        run=run,
        gene=gene,
        field=field,
        held_out=recipe.get("folds", 0) > 0,
        learned_imputed=result.learned_imputed(run),
    )


def _gene_image(
    levels: Sequence[Any], field: GeneField, title: str, about: LayerInfo, *, visible: bool
) -> LayerData:
    return image_layer(
        levels, field.grid, title, about, contrast(levels), _COLORMAP, visible=visible
    )


def browse_title(name: str, gene: str, field: GeneField, what: What) -> str:
    """Name a browse layer after what it shows."""
    return f"{name} browse: {gene} {'' if what == 'latent' else 'uncertainty '}[{field.unit}]"


def best_gene(field: GeneField) -> str:
    """Return the gene that was predicted best on held-out spots."""
    scores = np.nan_to_num(field.decoder.held_out_r, nan=-np.inf)
    return field.genes[int(np.argmax(scores))]


def domain_layers(run: DomainRun, *, visible: bool) -> list[LayerData]:
    """Make the layers of a domain run: a label image, and the spots in the same colours."""
    from napari_stenhance.plugin.domains import label_colours, label_features, paint_spots
    from napari_stenhance.results.domain_edit import DomainEdit
    from napari_stenhance.results.domains import CONFIDENCE, LABEL
    from napari_stenhance.section.spots import geometry_of, positions_px

    edit, grid = DomainEdit.from_run(run), run.grid
    about = LayerInfo("domains", run.result.name, result=run.result.path, run=run.name, edit=edit)
    title = f"{run.result.name} domains: {run.name}"
    attributes = {
        "name": title,
        "multiscale": True,
        "colormap": label_colours(edit),
        "features": label_features(edit),
        "opacity": 0.6,
        "visible": visible,
        "metadata": about.metadata(),
        "scale": (grid.scale_um(),) * 2,
        "translate": grid.translate_um(),
        "units": (grid.unit,) * 2,
        "axis_labels": ("y", "x"),
    }
    layers: list[LayerData] = [(label_levels(run.levels), attributes, "labels")]
    spots = run.spots()
    if spots is not None:
        mpp = None if grid.unit == "pixel" else grid.mpp
        geometry = geometry_of(spots)
        in_pixels = geometry.unit == "pixel" or mpp is None
        value_of = {d.name: d.value for d in run.domains}
        features = {
            "spot": np.asarray(spots.obs_names, dtype=object),
            "domain": spots.obs[LABEL].astype(object).to_numpy(),
            "confidence": spots.obs[CONFIDENCE].to_numpy(),
            "label": np.array([value_of.get(name, 0) for name in spots.obs[LABEL].astype(object)]),
        }
        rgba = paint_spots(edit, features["label"])
        attributes = {
            "name": f"{title} (spots)",
            "size": geometry.spot_diameter_um / (1.0 if in_pixels else mpp or 1.0),
            "symbol": geometry.spot_shape,
            "border_width": 0,
            "face_color": rgba,
            "shown": rgba[:, 3] > 0,
            "features": features,
            "visible": visible,
            "metadata": replace(about, role="domain spots").metadata(),
            **pixel_space(mpp),
        }
        layers.append((positions_px(spots, title)[:, ::-1], attributes, "points"))
    return layers


def run_layers(result: ResultFolder, run: str, *, visible: bool = True) -> list[LayerData]:
    """Make the layers of a run: of its genes, one to browse all others, and what else it made."""
    from napari_stenhance.results.genes import written_genes

    field, genes = result.field(run), written_genes(result, run)
    layers = [browse_layer(result, run, best_gene(field), field, visible=visible and not genes)]
    for n, gene in enumerate(genes):
        layers.append(gene_layer(result, run, gene, field, visible=visible and n == 0))
    shown_first = genes[0] if genes else best_gene(field)
    layers += crop_layers(result, run, shown_first, visible=visible)
    region = result.region(run)
    if region is not None:
        layers.append(region_layer(run_title(result, run), field.grid.mpp, region))
    return layers


def result_layers(result: ResultFolder, slide: Section | None) -> list[LayerData]:
    """Make the layers of a result: its slide, if it was found, and every run that has any.

    The newest domains are visible, instead of genes; of genes, those of fields.
    """
    from napari_stenhance.plugin.imputed import imputed_layers
    from napari_stenhance.results.domains import domain_runs
    from napari_stenhance.results.imputed import imputed_runs

    layers = [] if slide is None else section_layers(slide)
    found = domain_runs(result)
    for run in result.runs:
        if result.run_attributes(run).get("field_created"):
            layers += run_layers(result, run, visible=not found)
    for imputed in imputed_runs(result):
        layers += imputed_layers(imputed, visible=not found and not result.runs)
    for domains in found:
        layers += domain_layers(domains, visible=domains == found[-1])
    return layers


def open_layers(
    path: Path,
    mpp: float | None = None,
    job: Job | None = None,
    image: Path | None = None,
    tiles: TileCache | None = None,
) -> tuple[list[LayerData], Section | ResultFolder | None]:
    """Open a section, a result, or layers that were saved.

    Parameters
    ----------
    path : Path
    mpp : float, optional
        Micrometres per pixel of a section, where the files do not say or are wrong.
    job : Job, optional
        Receives the progress of building a pyramid.
    image : Path, optional
        The slide of a section, where it does not lie beside the counts.
    tiles : TileCache, optional
        Where the fields of a result keep tiles: the viewer's.

    Returns
    -------
    layers : list of tuple
    opened : Section, ResultFolder or None
        None for saved layers.

    Raises
    ------
    InputError
        If it is none of these, or cannot be used.
    """
    from napari_stenhance.plugin.saved import is_saved, saved_layers
    from napari_stenhance.results.attributes import ADVICE
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.section import open_section
    from napari_stenhance.storage.reading import reading

    if is_saved(path):
        return saved_layers(path), None
    if not ResultFolder.is_result(path):
        section = open_section(path, mpp=mpp, image=image, job=job)
        return section_layers(section), section
    result = ResultFolder.open(path, tiles)
    with reading(path, advice=ADVICE):
        return result_layers(result, _slide_of(result, job)), result


def _slide_of(result: ResultFolder, job: Job | None) -> Section | None:
    """Open the slide of a result where it lay; None if another file or none is there now."""
    from napari_stenhance.errors import InputError
    from napari_stenhance.section.section import Section
    from napari_stenhance.section.slide import Slide

    path = result.slide_path()
    if not result.has_slide or path is None:
        return None
    about = result.about["slide"]
    try:
        slide = Slide.open(path, name=about["name"], mpp=about["mpp"], job=job)
    except InputError:
        return None
    return Section(slide=slide) if slide.sha256 == about["sha256"] else None
