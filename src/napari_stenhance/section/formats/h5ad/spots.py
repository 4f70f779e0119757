"""An AnnData of spots, `.h5ad` or `.zarr`, with the one image beside it that shares its stem."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import scipy.sparse as sp

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import SectionFiles, shares_stem
from napari_stenhance.section.formats.h5ad.layouts import read_frame, read_matrices
from napari_stenhance.section.formats.h5ad.placed import section_files
from napari_stenhance.section.images.opening import image_suffixes
from napari_stenhance.section.placed import PlacedTable
from napari_stenhance.section.positions import PLACES
from napari_stenhance.section.raw import with_raw_counts
from napari_stenhance.section.tables.counts import check_sparse
from napari_stenhance.section.tables.features import set_aside
from napari_stenhance.section.tables.hdf5 import look_through
from napari_stenhance.section.tables.layers import named_layers
from napari_stenhance.section.tables.zarr_table import is_anndata, look_through_zarr
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad

PUBLISHED_SPOTS, PUBLISHED_CELLS = "Spatial_count.h5ad", "scRNA_count_cluster.h5ad"
"""What a folder of the published SINCA-Net holds: spots, and the cells that go with them."""
NO_ANNDATA = ("this AnnData file", "write it again")
"""What `reading` says of an `.h5ad`."""


def _images_beside(path: Path, sample: str | None = None) -> tuple[Path, ...]:
    """List the images whose stem is the file's, or begins with it and a separator.

    Of one of several samples, those that are called as it is, if there are any.
    """
    images = [f for f in sorted(path.parent.iterdir()) if f.name.lower().endswith(image_suffixes())]
    beside = tuple(f for f in images if shares_stem(f.name, path.stem))
    if sample is None:
        return beside
    stems = [f"{path.stem}{between}{sample}" for between in "_-. "]
    own = tuple(f for f in images if any(shares_stem(f.name, stem) for stem in (sample, *stems)))
    return own or beside


def open_h5ad(path: Path, sample: str | None = None) -> SectionFiles:
    """Find the spots of an `.h5ad` or `.zarr`, of a folder with one, or with spots and their cells.

    Raises
    ------
    InputError
        If a folder holds several, or the file cannot be read.
    """
    if (path / PUBLISHED_SPOTS).is_file():
        return place_h5ad(path / PUBLISHED_SPOTS, path.name, (), sample)
    if path.is_dir() and not is_anndata(path):
        inside = sorted(path.glob("*.h5ad"))
        if len(inside) > 1:
            names = ", ".join(f.name for f in inside)
            msg = f"{path}: the folder holds several sections: {names}; name the one you mean."
            raise InputError(msg)
        (path,) = inside
    return place_h5ad(path, path.stem, _images_beside(path, sample), sample)


def place_h5ad(
    path: Path, name: str, images: tuple[Path, ...], sample: str | None = None
) -> SectionFiles:
    """Read what is needed to place the spots of an `.h5ad` on its slide.

    Raises
    ------
    InputError
        If the file cannot be read, holds no positions, or several samples of which none is named.
    """
    import anndata as ad

    with _opened(path) as file, ids_as_they_are():
        uns = ad.io.read_elem(file["uns"]) if "uns" in file else {}
        uns = uns if isinstance(uns, Mapping) else {}
        obs = read_frame(file["obs"], file.get("uns"))
        obsm = read_matrices(file["obsm"], PLACES) if "obsm" in file else {}
    placed = PlacedTable.among(obs, uns, obsm, str(path), sample)
    return section_files(placed, name, path, images, partial(_read, path, placed))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a table in HDF5 or zarr, looked through before anything of it is read."""
    if path.is_file():
        look_through(path)
        with reading(path, *NO_ANNDATA), h5py.File(path, "r") as file:
            yield file
        return
    import zarr

    with reading(path, *NO_ANNDATA):
        look_through_zarr(path)
        yield zarr.open_group(path, mode="r", use_consolidated=False)


def place_in_memory(table: ad.AnnData, name: str, sample: str | None = None) -> SectionFiles:
    """Look at an AnnData of the user's as at a file of the same content; it stays as it is.

    Raises
    ------
    InputError
        If it holds no positions, or several samples of which none is named.
    """
    import anndata as ad

    whole = table.to_memory() if table.isbacked else table.copy() if table.is_view else table
    with ids_as_they_are():
        spots = ad.AnnData(
            X=whole.X,
            obs=whole.obs,
            var=whole.var,
            obsm=dict(whole.obsm),
            obsp=dict(whole.obsp),
            uns=dict(whole.uns),
            layers=named_layers(whole),
        )
        if whole.raw is not None:
            spots.raw = whole.raw.to_adata()
    placed = PlacedTable.among(spots.obs, spots.uns, spots.obsm, name, sample)

    def read() -> tuple[ad.AnnData, tuple[str, ...]]:
        with ids_as_they_are():
            return _counted(placed.take(spots), name)

    return section_files(placed, name, Path(name), (), read)


def _read(path: Path, placed: PlacedTable) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad

    with _opened(path) as file, ids_as_they_are():
        spots = ad.read_h5ad(path) if isinstance(file, h5py.File) else ad.read_zarr(file)
        for where in ("layers", "obsm", "obsp", "varm", "varp"):
            parts = named_layers(spots) if where == "layers" else getattr(spots, where)
            for name, part in parts.items():
                with reading(path, f'{where}["{name}"]', "write it again"):
                    if sp.issparse(part):
                        check_sparse(part)
        return _counted(placed.take(spots), str(path))


def _counted(spots: ad.AnnData, where: str) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Return raw counts of genes: what is none of these may be counted otherwise."""
    genes, aside = set_aside(spots, where)
    counted, doubts = with_raw_counts(genes, where)
    return counted, (*aside, *doubts)


@contextmanager
def ids_as_they_are() -> Iterator[None]:
    """Keep anndata's advice on ids that are not unique from the user, who is told in a sentence."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Observation|Variable) names are not unique")
        # Files of before 0.7, which open all the same.
        for old in (
            "Element '.*' was written without encoding",
            "'/.*' was written with a very old",
        ):
            warnings.filterwarnings("ignore", old)
        yield
