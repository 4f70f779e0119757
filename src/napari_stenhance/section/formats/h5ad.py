"""An `.h5ad` of spots, with the one image beside it that shares its stem."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.found import IMAGE_SUFFIXES, Found
from napari_stenhance.section.spots import find_mpp, positions_px

if TYPE_CHECKING:
    import anndata as ad


def _image_beside(path: Path) -> Path | None:
    """Return the one image whose stem is the file's, or begins with it and a separator."""
    stem = path.stem
    images = sorted(
        f
        for f in path.parent.iterdir()
        if f.suffix.lower() in IMAGE_SUFFIXES
        and (f.stem == stem or (f.stem.startswith(stem) and f.stem[len(stem)] in "_-. "))
    )
    if len(images) > 1:
        names = ", ".join(f.name for f in images)
        msg = f"{path}: several images share its stem: {names}; leave only the slide beside it."
        raise InputError(msg)
    return images[0] if images else None


def recognise(path: Path) -> Found | None:
    """Recognise an `.h5ad`, or a folder that holds just one.

    Raises
    ------
    InputError
        If a folder holds several, several images share the stem, or the file cannot be read.
    """
    if path.is_dir():
        inside = sorted(path.glob("*.h5ad"))
        if len(inside) > 1:
            names = ", ".join(f.name for f in inside)
            msg = f"{path}: the folder holds several sections: {names}; name the one you mean."
            raise InputError(msg)
        if not inside:
            return None
        (path,) = inside
    if path.suffix.lower() != ".h5ad":
        return None
    return found(path, path.stem, _image_beside(path))


def found(path: Path, name: str, image: Path | None) -> Found:
    """Read what is needed to place the spots of an `.h5ad` on an image.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no positions.
    """
    import anndata as ad

    try:
        with h5py.File(path, "r") as file, _ids_as_they_are():
            spots = ad.AnnData(
                obs=ad.io.read_elem(file["obs"]),
                uns=ad.io.read_elem(file["uns"]) if "uns" in file else {},
                obsm={"spatial": np.asarray(file["obsm/spatial"])}
                if "obsm/spatial" in file
                else {},
            )
    except (OSError, KeyError, ValueError, TypeError) as error:
        msg = f"{path}: this is no AnnData file that can be read ({error}); write it again."
        raise InputError(msg) from error
    xy = positions_px(spots, str(path))
    mpp, source = find_mpp(spots, xy)
    return Found(name, path, image, xy, mpp, source, partial(_read, path))


def _read(path: Path) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad

    with _ids_as_they_are():
        return ad.read_h5ad(path), ()


@contextmanager
def _ids_as_they_are() -> Iterator[None]:
    """Keep anndata's advice on ids that are not unique from the user, who is told in a sentence."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Observation|Variable) names are not unique")
        yield
