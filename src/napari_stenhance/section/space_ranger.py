"""What Space Ranger states and draws beside the counts, of Visium spots as of bins."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.section.tables.claims import opened_text
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from napari_stenhance.section.picture import Picture

FACTORS = {
    "tissue_hires_image": "tissue_hires_scalef",
    "tissue_lowres_image": "tissue_lowres_scalef",
}
"""The scale factor of each picture."""
PICTURE = re.compile(
    r"(?P<prefix>(?:.*[_.\- ])?)(?P<what>tissue_hires_image|tissue_lowres_image"
    r"|(?:aligned|detected)_(?:tissue|fiducials)\w*|cytassist_image)\.\w+(?:\.gz)?"
)
"""Names of what Space Ranger draws."""
_FACTORS_MOST = 2**20
_FIDUCIAL_UM = 105.0
"""Measured: `fiducial_diameter_fullres` means this much, at every version and capture area."""
_SPOT_UM = 65.0
_SAME_SCALE = 0.1


def is_picture(name: str) -> bool:
    """Tell whether Space Ranger drew an image, so that it is not the slide."""
    return PICTURE.fullmatch(name) is not None


def read_factors(path: Path | None, *more: str) -> dict[str, float]:
    """Read the positive numbers among the scale factors; none without the file.

    Parameters
    ----------
    path : Path or None
    *more : str
        Keys that only some assays have.

    Raises
    ------
    InputError
        If it cannot be read, or a factor is no positive number.
    """
    if path is None:
        return {}
    with reading(path, "the scale factors", "copy the file again"):
        with opened_text(path) as file:
            content = dict(json.loads(file.read(_FACTORS_MOST)))
        known = ("microns_per_pixel", "fiducial_diameter_fullres", "gem_id", *FACTORS.values())
        # What R writes: a list of one, and null for what is not known.
        factors = {
            key: float(_alone(content[key]))
            for key in (*known, *more)
            if content.get(key) not in (None, "NA", [None], ["NA"], {})
        }
        bad = [key for key, value in factors.items() if not 0 < value < math.inf]
        if bad:
            msg = f"{bad[0]} is {factors[bad[0]]:g}"
            raise ValueError(msg)
    return factors


def refuse_picture_pixels(
    obs: pd.DataFrame, xy: NDArray[np.float64], factors: Mapping[str, object], where: str
) -> None:
    """Refuse positions of Visium spots that someone wrote in pixels of a picture.

    Parameters
    ----------
    obs : DataFrame
        With the numbers of the array.
    xy : ndarray of float64, shape (spots, 2)
    factors : mapping
        The scale factors.
    where : str
        What errors name.

    Raises
    ------
    InputError
        If the spots' pitch is that of the fiducials times a picture's scale.
    """
    from napari_stenhance.section.scale import as_number
    from napari_stenhance.section.spots import VISIUM_PITCH_UM, visium_pitch_px

    pitch = visium_pitch_px(obs, xy)
    printed, off = as_number(factors.get("fiducial_diameter_fullres")), _SAME_SCALE
    micrometres = _FIDUCIAL_UM
    if printed is None:
        # Of the spots, it means 60 to 70 µm.
        printed, off = as_number(factors.get("spot_diameter_fullres")), 2 * _SAME_SCALE
        micrometres = _SPOT_UM
    if pitch is None or printed is None or printed <= 0:
        return
    # 1 where both are in full-resolution pixels.
    ratio = pitch / VISIUM_PITCH_UM * micrometres / printed
    for what, key in FACTORS.items():
        factor = as_number(factors.get(key)) or 1.0
        if abs(ratio - 1) > off and abs(ratio / factor - 1) < off:
            msg = (
                f"{where}: the spots lie {pitch:.1f} px apart, where the scale factors imply "
                f"{pitch / ratio:.1f}: these are pixels of {what}; write full-resolution ones, as "
                "Space Ranger does."
            )
            raise InputError(msg)


def _alone(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


@dataclass(frozen=True)
class Drawn:
    """The pictures of a sample, as `SectionFiles` has them.

    Attributes
    ----------
    factors : dict of str to float
        By file name: their pixels for each full-resolution pixel.
    sizes : dict of str to tuple
        By file name: height and width of those that are there.
    finest : Picture or None
    """

    factors: dict[str, float]
    sizes: dict[str, tuple[int, int]]
    finest: Picture | None


def look_at_pictures(pictures: Mapping[str, Path], factors: Mapping[str, float]) -> Drawn:
    """Find what the pictures of a sample are good for; a damaged one only says nothing.

    Parameters
    ----------
    pictures : mapping of str to Path
        By name without prefix and suffix (`tissue_hires_image`).
    factors : mapping
        As `read_factors` returns it.
    """
    from napari_stenhance.section.images.opening import image_size
    from napari_stenhance.section.picture import picture_of_file

    scaled = {
        pictures[what].name if what in pictures else f"{what}.png": factors[key]
        for what, key in FACTORS.items()
        if key in factors
    }
    sizes = {}
    for file in pictures.values():
        if file.name in scaled:
            try:
                sizes[file.name] = image_size(file)
            except InputError:
                continue
    there = [
        picture_of_file(pictures[what], factors[key])
        for what, key in FACTORS.items()
        if what in pictures and factors.get(key, 2.0) <= 1
    ]
    return Drawn(scaled, sizes, max(there, key=lambda one: one.factor, default=None))
