"""Space Ranger folders of Visium spots: a 10x matrix, positions, scale factors and pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.running.numbers import agree, counted, lacking
from napari_stenhance.section.formats.format import SectionFiles, names_in, shares_stem
from napari_stenhance.section.formats.visium.names import (
    SpaceRangerSample,
    one_of,
    roots_of,
    sample_in,
)
from napari_stenhance.section.formats.visium.tables import (
    ARRAY,
    XY,
    on_one_slide,
    read_positions,
)
from napari_stenhance.section.images.opening import image_suffixes
from napari_stenhance.section.space_ranger import (
    is_picture,
    look_at_pictures,
    read_factors,
    refuse_picture_pixels,
)
from napari_stenhance.section.spots import VISIUM_DIAMETER_UM, VISIUM_PITCH_UM, visium_pitch_px
from napari_stenhance.section.tables.tenx import read_matrix

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd


_NUMBER = r"-\d+$"


def open_visium(path: Path, sample: str | None = None) -> SectionFiles:
    """Find the files of a folder with counts and positions, or of one of its samples by its counts.

    That is an `outs` folder, the folder above it, a flat one, or that of one sample in an
    aggregate.

    Raises
    ------
    InputError
        If it lacks a part, holds several samples, or its positions or scale factors cannot be
        used.
    """
    root, aggregate = roots_of(path)
    found = sample_in(root or aggregate or path, path if path.is_file() else None, sample)
    if aggregate is not None:
        found = one_of(found, path)
    everywhere, doubts = read_positions(found.positions)
    factors = read_factors(found.scalefactors)
    positions = on_one_slide(found, everywhere, factors.get("gem_id"))
    xy = positions[list(XY)].to_numpy(np.float64)
    pitch = visium_pitch_px(positions, xy)
    refuse_picture_pixels(positions, xy, factors, str(found.positions))
    mpp, source = factors.get("microns_per_pixel"), "stated in the scale factors"
    if mpp is None:
        mpp = VISIUM_PITCH_UM / pitch if pitch else None
        source = f"inferred from the Visium lattice: {pitch or 0:.1f} px = {VISIUM_PITCH_UM:g} µm"
    drawn = look_at_pictures(found.pictures, factors)
    home = (path if aggregate else found.root).resolve()
    if home.name == "outs":
        home = home.parent
    return SectionFiles(
        name=home.name if aggregate else found.prefix or home.name,
        origin=found.counts.files[0],
        images=_images(found, home),
        xy=xy[positions["in_tissue"].to_numpy() == 1],
        mpp=mpp,
        mpp_source=source if mpp else "unknown",
        read=partial(_read, found, positions, everywhere.index),
        doubts=doubts,
        pictures=drawn.factors,
        sizes=drawn.sizes,
        without=_without(found),
        picture=drawn.finest,
    )


def _images(sample: SpaceRangerSample, home: Path) -> tuple[Path, ...]:
    """List images that may be the slide: in the sample's folder, or beside it under its name.

    The full-resolution image is never among what Space Ranger writes.
    """
    folders = {home: "" if sample.alone else sample.prefix, home.parent: home.name}
    if sample.root.resolve().parent == home:
        folders[sample.root] = folders[home]
    return tuple(
        folder / name
        for folder, stem in folders.items()
        for name in sorted(names_in(folder))
        if name.lower().endswith(image_suffixes())
        and (not stem or shares_stem(name, stem))
        and not is_picture(name)
    )


def _without(sample: SpaceRangerSample) -> str:
    seen = ", ".join(sorted(f.name for f in sample.pictures.values()))
    only = f"only pictures that Space Ranger made ({seen})" if seen else "no picture either"
    return f"No full-resolution slide was found, {only}: put the slide into the folder, or name it."


def _read(
    sample: SpaceRangerSample, positions: pd.DataFrame, everywhere: pd.Index
) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad

    matrix = read_matrix(sample.counts.files)
    positions, everywhere, numbered = _alike(positions, everywhere, matrix.barcodes)
    where = matrix.barcodes.get_indexer(positions.index)
    matrix.check_placed(where >= 0, sample.positions, positions.index[:2])
    tissue = positions["in_tissue"].to_numpy() == 1
    keep, doubts = _kept(sample, where, tissue)
    lost = int((~matrix.barcodes.isin(everywhere)).sum())
    if lost:
        doubts.append(lacking(lost, "barcode", len(matrix.barcodes), "position"))
    rows, where = positions[keep], where[keep]
    # In the matrix's order; spots without any count, which a raw matrix leaves out, come last.
    order = np.argsort(np.where(where < 0, len(matrix.barcodes), where), kind="stable")
    rows, where = rows.iloc[order], where[order]
    seen = where >= 0
    pick = sp.csr_matrix(
        (np.ones(seen.sum(), np.float32), (np.flatnonzero(seen), where[seen])),
        shape=(len(where), len(matrix.barcodes)),
    )
    spots = ad.AnnData(
        X=sp.csr_matrix(pick @ matrix.counts),
        obs=rows[list(ARRAY)],
        var=matrix.genes,
        obsm={"spatial": rows[list(XY)].to_numpy(np.float64)},
        uns={"spot_diameter_um": VISIUM_DIAMETER_UM, "spot_pitch_um": VISIUM_PITCH_UM},
    )
    return spots, (*matrix.doubts, *numbered, *doubts)


def _alike(
    positions: pd.DataFrame, everywhere: pd.Index, barcodes: pd.Index
) -> tuple[pd.DataFrame, pd.Index, tuple[str, ...]]:
    """Match barcodes of which some lost the number at their end, where no others match."""
    import pandas as pd

    # Another number is another sample.
    numbered = [names.str.contains(_NUMBER).any() for names in (everywhere, barcodes)]
    if all(numbered) or positions.index.isin(barcodes).any():
        return positions, everywhere, ()
    bare = pd.Series(barcodes, index=barcodes.str.replace(_NUMBER, "", regex=True))
    short = everywhere.str.replace(_NUMBER, "", regex=True)
    if not bare.index.is_unique or not short.is_unique or not short.isin(bare.index).any():
        return positions, everywhere, ()
    names = pd.Series(bare.reindex(short).to_numpy(), index=everywhere)
    names = names.where(names.notna(), everywhere.to_series())
    doubt = "Barcodes of counts and positions match only without the -1 at their end, as they do."
    return positions.set_axis(pd.Index(names.reindex(positions.index))), pd.Index(names), (doubt,)


def _kept(
    sample: SpaceRangerSample, where: NDArray[np.intp], tissue: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Choose spots: those of a filtered matrix, else those under tissue.

    Returns
    -------
    keep : ndarray of bool, shape (positions,)
    doubts : list of str
    """
    doubts = []
    empty = int((tissue & (where < 0)).sum())
    outside = ((where >= 0) & ~tissue).any()
    if sample.counts.which == "raw" or (sample.counts.which == "" and outside):
        doubts.append(
            f"There is no filtered matrix: of the raw one, the {tissue.sum()} spots under tissue "
            "(in_tissue = 1) were kept."
        )
        if empty:
            said = agree(
                empty,
                "is not in the raw matrix: it counts",
                "are not in the raw matrix: they count",
            )
            doubts.append(f"{counted(empty, 'spot')} under tissue {said} 0.")
        return tissue, doubts
    if empty:
        said = agree(empty, "is not among the counts and was", "are not among the counts and were")
        doubts.append(f"{counted(empty, 'spot')} under tissue {said} left out.")
    return where >= 0, doubts
