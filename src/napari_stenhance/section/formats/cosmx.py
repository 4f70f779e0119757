"""CosMx flat files: counts by cell, and a table that says where cells lie in a frame of the slide.

That frame has its origin below: it is turned upright, so that y goes down as in any image.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import lacking, left_out
from napari_stenhance.section.formats.format import SectionFiles, SectionFormat, names_in
from napari_stenhance.section.several import SeveralSamples
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_COUNTS = re.compile(r"(?P<sample>.*?)_?exprMat_file\.csv(?:\.gz)?", re.IGNORECASE)
_CELLS = "metadata_file.csv"
_FLAT = ("", "flatFiles", "flat_files")
PIXEL_UM = 0.120280945
_XY = ("CenterX_global_px", "CenterY_global_px")
_KEY = ("fov", "cell_ID")
_ROUND = 1.2732395447351628


def _samples(path: Path) -> dict[str, Path]:
    """List the files of counts in a folder by what they are called after."""
    folders = [path / flat for flat in _FLAT]
    return {
        match["sample"]: folder / name
        for folder in folders
        for name in sorted(names_in(folder))
        if "exprmat" in name.lower() and (match := _COUNTS.fullmatch(name))
    }


def _recognise(path: Path) -> bool:
    return bool(_COUNTS.fullmatch(path.name)) if path.is_file() else bool(_samples(path))


def _open(path: Path, sample: str | None = None) -> SectionFiles:
    samples = _samples(path.parent if path.is_file() else path)
    if path.is_file():
        samples = {name: file for name, file in samples.items() if file == path}
    names = list(samples)
    if sample not in {None, *names} or (sample is None and len(names) > 1):
        raise SeveralSamples.named(str(path), "by their files", names, sample)
    name = names[0] if sample is None else sample
    counts = samples[name]
    return _place(name or counts.parent.resolve().name, counts)


def _place(name: str, counts: Path) -> SectionFiles:
    """Read where cells lie, and how large a pixel is."""
    import numpy as np

    start = _COUNTS.fullmatch(counts.name)["sample"]  # type: ignore[index]
    wanted = f"{start}_{_CELLS}" if start else _CELLS
    tables = [
        n for n in names_in(counts.parent) if n.lower() in {wanted.lower(), f"{wanted.lower()}.gz"}
    ]
    if not tables:
        msg = f"{counts}: {wanted} is missing beside the counts, which says where cells lie."
        raise InputError(msg)
    path = counts.parent / sorted(tables)[0]
    cells, doubts = _read_cells(path)
    xy = cells[list(_XY)].to_numpy(np.float64)
    top = float(xy[:, 1].max())
    xy = np.column_stack([xy[:, 0], top - xy[:, 1]])
    upright = (
        "Positions are those of CosMx's frame with y downwards, from the uppermost cell: an H&E "
        "lies there only if it was registered so."
    )
    doubts = (*doubts, upright)
    mpp, source = PIXEL_UM, f"inferred: that of today's instruments, {PIXEL_UM:.4g} µm"
    if {"Area", "Area.um2"} <= set(cells.columns):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = cells["Area.um2"].to_numpy(np.float64) / cells["Area"].to_numpy(np.float64)
        ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
        if len(ratio):
            mpp, source = float(np.sqrt(np.median(ratio))), f"worked out from Area in {path.name}"
    return SectionFiles(
        name=name,
        origin=counts,
        images=(),
        xy=xy,
        mpp=mpp,
        mpp_source=source,
        read=partial(_read, counts, path, cells, xy),
        doubts=doubts,
        without="No H&E was found: CosMx writes none.",
    )


def _read_cells(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the table of cells by fov and number: numbers begin anew in each."""
    from napari_stenhance.section.tables.frames import (
        check_ids,
        finite_columns,
        read_cell_table,
        with_position,
    )

    with reading(path, "the cells", "export it again from AtoMx"):
        cells = read_cell_table(path, _KEY)
        numbers = [name for name in (*_XY, "Area", "Area.um2") if name in cells or name in _XY]
        cells[numbers] = finite_columns(cells, numbers)
        finite_columns(cells, _KEY)
        cells.index = _ids(cells["fov"], cells["cell_ID"])
        check_ids(cells.index)
    return with_position(cells, _XY, path)


def _ids(fov: pd.Series[str], cell: pd.Series[str]) -> pd.Index:
    import pandas as pd

    return pd.Index(fov.astype(str).str.strip() + "_" + cell.astype(str).str.strip(), name=None)


def _read(
    path: Path, table: Path, cells: pd.DataFrame, xy: NDArray[np.float64]
) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad
    import numpy as np
    import pandas as pd

    from napari_stenhance.section.tables.wide import read_wide_counts

    with reading(path, "the counts", "export it again from AtoMx"):
        wide = read_wide_counts(path, lambda n, name: name in {"fov", "cell_id", "cell"})
        key = {name.lower(): pd.Series(values) for name, values in wide.ids.items()}
        if not {"fov", "cell_id"} <= set(key):
            msg = f"there is no column fov or cell_ID, only {', '.join(wide.ids)}"
            raise ValueError(msg)
        ids = _ids(key["fov"], key["cell_id"])
    # What lies in no cell is counted as cell 0.
    inside = (key["cell_id"].str.strip() != "0").to_numpy()
    at = cells.index.get_indexer(ids)
    known = (at >= 0) & inside
    doubts = []
    if not known.any():
        msg = (
            f"{path}: none of its cells (fov_cell, such as {', '.join(ids[:2])}) is in "
            f"{table.name} (such as {', '.join(cells.index[:2])}); these files do not belong "
            "together."
        )
        raise InputError(msg)
    if not inside.all():
        outside = int((~inside).sum())
        doubts.append(left_out(outside, "row", "of counts in no cell (cell_ID 0)"))
    lost = int((inside & ~known).sum())
    if lost:
        doubts.append(lacking(lost, "cell", int(inside.sum()), "position"))
    rows = cells.iloc[at[known]]
    uns = {}
    if "Area.um2" in rows and (rows["Area.um2"] > 0).any():
        area = rows["Area.um2"].to_numpy(np.float64)
        # As wide as a disc of the median cell's area.
        uns["spot_diameter_um"] = float(np.sqrt(np.median(area[area > 0]) * _ROUND))
    spots = ad.AnnData(
        X=wide.counts[known],
        obs=rows.drop(columns=list(_XY)),
        var=pd.DataFrame(index=pd.Index(wide.columns)),
        obsm={"spatial": xy[at[known]]},
        uns=uns,
    )
    return spots, tuple(doubts)


FORMAT = SectionFormat(
    "CosMx flat files (…_exprMat_file.csv, …_metadata_file.csv)", _recognise, _open, _open, order=27
)
