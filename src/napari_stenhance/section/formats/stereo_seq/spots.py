"""Stereo-seq on its slide: the image that SAW registered has a pixel for each spot of the chip."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import SectionFiles, names_in
from napari_stenhance.section.formats.stereo_seq.gef import read_gef
from napari_stenhance.section.formats.stereo_seq.gem import read_gem
from napari_stenhance.section.formats.stereo_seq.molecules import STEP_NM, StereoCounts
from napari_stenhance.section.formats.stereo_seq.names import find_counts
from napari_stenhance.section.images.opening import image_size, image_suffixes
from napari_stenhance.section.spots import SpotGeometry, nearest_distance

if TYPE_CHECKING:
    import anndata as ad

_NO_SLIDE = re.compile(r"ssdna|dapi|mask|_cut\b|(?:^|[_.])if(?:[_.]|$)", re.IGNORECASE)
_INSIDE_LEAST = 0.9
_ROUND = 4 / np.pi


def open_stereo(path: Path, bin_size: int | None = None) -> SectionFiles:
    """Read the counts, which say where they lie, and find the slide.

    Parameters
    ----------
    path : Path
        `.gef`, `.gem`, or a folder of SAW.
    bin_size : int, optional
        Steps of the chip along a bin.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    file = find_counts(path)
    found = (read_gef if file.suffix.lower() == ".gef" else read_gem)(file, bin_size)
    if not len(found.ids):
        msg = f"{file}: nothing is counted in it."
        raise InputError(msg)
    return _on(found, file, _images(file))


def _on(found: StereoCounts, file: Path, images: tuple[Path, ...]) -> SectionFiles:
    """Place the counts on the images that may be the slide."""
    name = re.sub(r"(?:\.(?:tissue|raw|adjusted|cellbin))*\.\w+(?:\.gz)?$", "", file.name)
    step = found.step_nm or STEP_NM
    xy, doubts = _shifted(found, images)
    mpp, source = step / 1e3, "stated in the file"
    if not found.step_nm:
        source = f"inferred: the chip is not known, and most have a spot every {STEP_NM:g} nm"
    return SectionFiles(
        name=f"{name}-cells" if found.bin_size is None else f"{name}-bin{found.bin_size}",
        origin=file,
        images=images,
        xy=xy,
        mpp=mpp,
        mpp_source=source,
        read=lambda: (_table(found, xy), found.doubts),
        doubts=doubts,
        without="No slide was found beside it: give the H&E that SAW registered (…_HE_regist.tif).",
        geometry=partial(_geometry, found),
        on_image=lambda image: _on(found, file, (image,)),
    )


def _shifted(
    found: StereoCounts, images: tuple[Path, ...]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Add or take off the offset of the chip, if positions lie on the one image only so; say it."""
    if len(images) != 1 or found.offset == (0.0, 0.0):
        return found.xy, ()
    most = np.array(image_size(images[0])[::-1]) - 0.5
    for sign, done in ((0, ""), (1, "added to"), (-1, "taken off")):
        moved = found.xy + sign * np.array(found.offset)
        if ((moved >= -0.5) & (moved <= most)).all(axis=1).mean() < _INSIDE_LEAST:
            continue
        across, down = found.offset
        doubt = (
            f"The chip's offset, {across:g} and {down:g} px, was {done} the positions, as they lie "
            f"on {images[0].name} only so: look whether they lie on tissue."
        )
        return moved, (doubt,) if sign else ()
    return found.xy, ()


def _images(file: Path) -> tuple[Path, ...]:
    """List the images of the same chip, but fluorescence and masks."""
    chip = file.name.split(".")[0]
    folders = (file.parent, file.parent / "image", file.parent.parent / "image")
    return tuple(
        folder / name
        for folder in dict.fromkeys(folders)
        for name in sorted(names_in(folder))
        if name.startswith(chip)
        and name.lower().endswith(image_suffixes())
        and not _NO_SLIDE.search(name.removeprefix(chip))
    )


def _geometry(found: StereoCounts, mpp: float | None) -> tuple[SpotGeometry, str]:
    """Say how large bins are, or cells; a pixel is a spot of the chip."""
    scale, short = (1.0, "px") if mpp is None else (mpp, "µm")
    unit: Literal["pixel", "micrometer"] = "pixel" if mpp is None else "micrometer"
    if found.bin_size is not None:
        side = found.bin_size * scale
        said = (
            f"The bins are of {found.bin_size} spots of the chip, {side:g} {short}; others are "
            "opened by naming their size, as bin50, as the sample."
        )
        return SpotGeometry(side, "square", side, unit), said
    pitch = nearest_distance(found.xy) * scale
    width, which = pitch, "as wide as the distance to the nearest"
    if found.area is not None and (found.area > 0).any():
        width = float(np.sqrt(np.median(found.area[found.area > 0]) * _ROUND)) * scale
        which = "of their median area"
    said = f"Cells count as discs {which}, {width:.3g} {short}, around their centres."
    return SpotGeometry(width, "disc", pitch, unit), said


def _table(found: StereoCounts, xy: NDArray[np.float64]) -> ad.AnnData:
    import anndata as ad
    import pandas as pd

    obs = {} if found.area is None else {"area_px": found.area}
    return ad.AnnData(
        X=found.counts,
        obs=pd.DataFrame(obs, index=pd.Index(found.ids, dtype=object)),
        var=found.genes,
        obsm={"spatial": xy},
    )
