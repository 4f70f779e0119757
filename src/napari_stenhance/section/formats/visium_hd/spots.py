"""Bins and cells of Visium HD, placed in full-resolution pixels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, names_in, shares_stem
from napari_stenhance.section.formats.visium_hd.bins import read_bins, read_lattice, scale_of
from napari_stenhance.section.formats.visium_hd.cells import (
    geometry_of_cells,
    read_cells,
    read_outlines,
)
from napari_stenhance.section.formats.visium_hd.names import HdFolder, find
from napari_stenhance.section.images.opening import image_suffixes
from napari_stenhance.section.space_ranger import (
    PICTURE,
    is_picture,
    look_at_pictures,
    read_factors,
)


def open_hd(path: Path, part: str | None = None) -> SectionFiles:
    """Find bins or cells, their scale and pictures.

    Parameters
    ----------
    path : Path
    part : str, optional
        The folder that is meant of a whole run, such as square_016um.

    Raises
    ------
    InputError
        If a part is missing, or cannot be used.
    """
    chosen = find(path, part)
    which, files = chosen.counts()
    positions = chosen.positions()
    factors = read_factors(
        next(iter(chosen.spatial("scalefactors_json.json")), None),
        "bin_size_um",
        "spot_diameter_fullres",
    )
    drawn = look_at_pictures(_pictures(chosen), factors)
    mpp, source = factors.get("microns_per_pixel"), "stated in the scale factors"
    if chosen.cells:
        outlines, doubts = read_outlines(positions)
        xy = outlines.xy
        read = partial(read_cells, files, outlines)
        geometry = partial(geometry_of_cells, outlines)
        polygons = outlines.drawn
    else:
        bins, doubts = read_lattice(positions)
        geometry, polygons = None, None
        xy = bins.xy[bins.in_tissue]
        size = factors.get("bin_size_um") or chosen.size_um
        if mpp is None and size:
            mpp, source = scale_of(bins, size, factors.get("spot_diameter_fullres"))
        read = partial(read_bins, which, files, bins, size)
    if chosen.others:
        taken = "the cells" if chosen.cells else f"the bins of {chosen.size_um} µm"
        said = (
            f"Of this run {taken} were opened ({chosen.folder.name}); {', '.join(chosen.others)} "
            "can be opened by their folders, or as its samples."
        )
        doubts = (*doubts, said)
    return SectionFiles(
        name=chosen.name,
        origin=files[0],
        images=_images(chosen),
        xy=xy,
        mpp=mpp,
        mpp_source=source if mpp else "unknown",
        read=read,
        doubts=doubts,
        pictures=drawn.factors,
        sizes=drawn.sizes,
        without=_without(drawn.finest is not None),
        geometry=geometry,
        picture=drawn.finest,
        outlines=None if polygons is None else lambda: polygons,
    )


def _pictures(chosen: HdFolder) -> dict[str, Path]:
    return {
        match["what"]: file
        for suffix in (".jpg", ".tiff", ".png")
        for file in reversed(chosen.spatial(suffix))
        if (match := PICTURE.fullmatch(file.name))
    }


def _images(chosen: HdFolder) -> tuple[Path, ...]:
    """List images that may be the slide: in the run's folder, or beside it under its name."""
    home, suffixes = chosen.home, image_suffixes()
    folders = {home: "", home / "outs": "", chosen.folder.resolve(): "", home.parent: home.name}
    return tuple(
        folder / name
        for folder, stem in folders.items()
        for name in sorted(names_in(folder))
        if name.lower().endswith(suffixes)
        and (not stem or shares_stem(name, stem))
        and not is_picture(name)
    )


def _without(drawn: bool) -> str:
    only = "only pictures that Space Ranger made" if drawn else "no picture either"
    return f"No full-resolution slide was found, {only}: put the slide into the folder, or name it."
