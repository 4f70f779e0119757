"""Write a section as prefix files, which the published Pixel2Gene and iStar programs read."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.section.formats.prefix import names as named
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.spots import are_whole, geometry_of, positions_px
from napari_stenhance.storage.atomic import atomic_path

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.section.section import Section

_TARGET_MPP = 0.5
_CELLS_AT_ONCE = 2**20


def write_prefix(section: Section, out: Path, job: Job) -> None:
    """Write a folder of prefix files whole or not at all.

    The slide is linked where that is possible, else copied; its pixels are never written anew.

    Parameters
    ----------
    section : Section
    out : Path
        The folder to make.
    job : Job
        Receives progress; cancels.

    Raises
    ------
    InputError
        If the section lacks slide, spots or scale, the programs cannot read its kind of image,
        something lies at `out`, or it cannot be written.
    Cancelled
        If the job was cancelled; nothing is left behind.
    """
    slide, spots = section.need_slide(), section.need_spots()
    slide.scale()
    image = _image_name(slide.path)
    try:
        with atomic_path(out, folder=True) as aside:
            _write_numbers(aside, slide, spots)
            _write_locations(aside / named.LOCATIONS[0], spots)
            _write_counts(aside / "cnts.tsv", spots, job)
            _link_or_copy(slide.path.resolve(), aside / image)
    except csv.Error as error:
        msg = f"{out}: an id cannot be written here ({error}); rename it."
        raise InputError(msg) from error


def _image_name(path: Path) -> str:
    """Return the name under which the programs find an image of this kind.

    Raises
    ------
    InputError
        If there is none.
    """
    lower = path.name.lower()
    # The longest suffix that fits: `.ome.tif` ends in `.tif` too.
    for name in sorted(named.IMAGES, key=len, reverse=True):
        if lower.endswith(name.removeprefix("he-raw")):
            return name
    if lower.endswith(".jpeg"):
        return "he-raw.jpg"
    suffixes = ", ".join(name.removeprefix("he-raw") for name in named.IMAGES)
    msg = (
        f"{path}: the published programs do not look for images of this kind, but for {suffixes}; "
        "export the slide as one of these first."
    )
    raise InputError(msg)


def _write_numbers(folder: Path, slide: Slide, spots: ad.AnnData) -> None:
    geometry = geometry_of(spots)
    scale = slide.scale() if geometry.unit == "micrometer" else 1.0
    for name, value in (
        (named.RADIUS, geometry.spot_diameter_um / 2 / scale),
        (named.PIXEL_SIZE, slide.scale()),
        (named.TARGET_PIXEL_SIZE, _TARGET_MPP),
    ):
        (folder / name).write_text(f"{float(value)!r}\n", "utf-8")


def _write_locations(path: Path, spots: ad.AnnData) -> None:
    import pandas as pd

    xy = positions_px(spots, str(path))
    table = pd.DataFrame(xy, index=spots.obs_names, columns=["x", "y"])
    table.to_csv(path, sep="\t", index_label="spot", quoting=csv.QUOTE_NONE, lineterminator="\n")


def _write_counts(path: Path, spots: ad.AnnData, job: Job) -> None:
    """Write counts in blocks of rows, of which only one is ever dense."""
    import pandas as pd

    counts = sp.csr_array(spots.X)
    whole = are_whole(counts)
    rows = max(1, _CELLS_AT_ONCE // spots.n_vars)
    starts = range(0, spots.n_obs, rows)
    with (
        job.stage("Writing counts", len(starts)) as stage,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        for start in starts:
            block = counts[start : start + rows].toarray()
            pd.DataFrame(
                block.astype(np.int64) if whole else block,
                index=spots.obs_names[start : start + rows],
                columns=spots.var_names,
            ).to_csv(
                file,
                sep="\t",
                header=start == 0,
                index_label="spot",
                quoting=csv.QUOTE_NONE,
                lineterminator="\n",
            )
            stage.advance()


def _link_or_copy(image: Path, to: Path) -> None:
    try:
        os.link(image, to)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(image, to)
