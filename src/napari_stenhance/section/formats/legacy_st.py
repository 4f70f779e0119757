"""Legacy Spatial Transcriptomics folders: counts and spot selection as tables, one H&E image.

A table with the columns x, y and label, where there is one, says what a pathologist saw there.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import lacking, left_out
from napari_stenhance.section.formats.format import SectionFiles, SectionFormat, names_in
from napari_stenhance.section.images.opening import image_suffixes
from napari_stenhance.section.tables.claims import LINE_MOST, opened_text, read_positions_text
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

_SPOT_ID = re.compile(r"(\d{1,9}(?:\.\d+)?)[x_](\d{1,9}(?:\.\d+)?)$")
_TABLES = (".tsv", ".tsv.gz", ".txt", ".txt.gz")
_LABELS = ("x", "y", "label")
_POSITIONS = ("x", "y", "new_x", "new_y", "pixel_x", "pixel_y")
_PEEK = 64 * 1024
_ARRAY_MOST = 2**31


def _tables_in(folder: Path) -> dict[str, list[Path]]:
    """Tell tables by the columns of positions and labels, and by the spot ids of counts."""
    files = [folder / n for n in sorted(names_in(folder)) if n.lower().endswith(_TABLES)]
    heads = {file: _head(file) for file in files if file.is_file()}
    counts = [f for f, head in heads.items() if _names_spots(*head)]
    return {
        "counts": [f for f in counts if "pixel_x" not in heads[f][0]],
        "positions": [f for f, head in heads.items() if set(_POSITIONS) <= set(head[0])],
        "labels": [f for f, head in heads.items() if set(_LABELS) <= set(head[0])],
    }


def _names_spots(header: list[str], line: list[str]) -> bool:
    """Tell whether lines are spots, or columns, as of a table that lies on its side."""
    across = [cell for cell in header[1:] if _SPOT_ID.match(cell.strip('"'))]
    lines = bool(line) and _SPOT_ID.match(line[0].strip('"')) is not None
    return lines or (len(across) > 1 and len(across) == len(header) - 1)


def _head(path: Path) -> list[list[str]]:
    """Return the start of the first two lines of a table, cut into cells."""
    try:
        with reading(path), opened_text(path) as file:
            lines = [file.readline(LINE_MOST)[:_PEEK], file.readline(256)]
    except InputError:
        return [[], []]
    return [line.decode("utf-8", "replace").strip("\r\n").split("\t") for line in lines]


def _recognise(path: Path) -> bool:
    tables = _tables_in(path)
    return bool(tables["positions"] and tables["counts"])


def _open(folder: Path) -> SectionFiles:
    """Place spots by the table of positions; several files that could play a part are refused."""
    import numpy as np

    from napari_stenhance.section.spots import ST_PITCH_UM, square_pitch_px

    tables = _tables_in(folder)
    for what, found in tables.items():
        if len(found) > 1:
            names = ", ".join(f.name for f in found)
            msg = f"{folder}: several files could be the {what}: {names}; leave only one there."
            raise InputError(msg)
    (counts,), (positions,) = tables["counts"], tables["positions"]
    table, doubts = _read_positions(positions)
    xy = table[["pixel_x", "pixel_y"]].to_numpy(np.float64)
    # `new_x`, `new_y` are where the printed spots were found, in units of the lattice.
    pitch = square_pitch_px(table[["new_x", "new_y"]].to_numpy(np.float64), xy)
    images = [folder / n for n in sorted(names_in(folder)) if n.lower().endswith(image_suffixes())]
    return SectionFiles(
        name=folder.name,
        origin=counts,
        images=tuple(image for image in images if image.is_file()),
        xy=xy,
        mpp=ST_PITCH_UM / pitch if pitch else None,
        mpp_source=f"inferred from the lattice: {pitch:.1f} px = {ST_PITCH_UM:g} µm"
        if pitch
        else "unknown",
        read=partial(_read, counts, positions, next(iter(tables["labels"]), None)),
        doubts=doubts,
    )


def _read_positions(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import numpy as np
    import pandas as pd

    with reading(path, "the positions", "export them again"):
        table = pd.read_csv(read_positions_text(path, b"\t"), sep="\t")
        table[list(_POSITIONS)] = table[list(_POSITIONS)].astype(float)
        if (table[["x", "y"]].abs() > _ARRAY_MOST).to_numpy().any():
            msg = f"x or y is beyond {_ARRAY_MOST}"
            raise ValueError(msg)
    whole = np.isfinite(table[list(_POSITIONS)].to_numpy()).all(axis=1)
    doubts: tuple[str, ...] = ()
    if not whole.all():
        lost = int((~whole).sum())
        doubts = (f"{path.name}: {left_out(lost, 'spot', 'without coordinates')}",)
        table = table.loc[whole]
    keys = zip(table["x"].round().astype(int), table["y"].round().astype(int), strict=True)
    table.index = pd.Index([f"{x}x{y}" for x, y in keys])
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        msg = f"{path}: two spots have the array position {twice}; remove one."
        raise InputError(msg)
    return table, doubts


def _read_labels(path: Path) -> pd.Series[str]:
    """Read labels by array position; rows without a position or a label are left out.

    Raises
    ------
    InputError
        If the table cannot be read, or says two things of one position.
    """
    import pandas as pd

    with reading(path, "the labels", "export them again"):
        content = read_positions_text(path, b"\t")
        table = pd.read_csv(content, sep="\t", dtype={"label": str}, usecols=list(_LABELS))
        table = table.dropna()
        x, y = (table[axis].astype(float).round().astype(int).astype(str) for axis in ("x", "y"))
    labels = table["label"].set_axis(x + "x" + y)
    if not labels.index.is_unique:
        twice = labels.index[labels.index.duplicated()][0]
        msg = f"{path}: the array position {twice} has two labels; remove one."
        raise InputError(msg)
    return labels


def _read(
    counts_path: Path, positions_path: Path, labels_path: Path | None
) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad
    import numpy as np
    import pandas as pd

    from napari_stenhance.section.spots import ST_DIAMETER_UM, ST_PITCH_UM
    from napari_stenhance.section.tables.text import read_counts

    positions, _ = _read_positions(positions_path)
    ids, genes, counts = read_counts(counts_path)
    if not any(map(_SPOT_ID.match, ids)) and any(map(_SPOT_ID.match, genes)):
        # A line for each gene.
        ids, genes, counts = genes, ids, counts.T.tocsr()
    matches = [_SPOT_ID.match(i) for i in ids]
    keys = [
        f"{round(float(m[1]))}x{round(float(m[2]))}" if m else i
        for m, i in zip(matches, ids, strict=True)
    ]
    both = [n for n, key in enumerate(keys) if key in positions.index]
    if not both:
        msg = (
            f"{counts_path}: none of its {len(ids)} spot ids (such as {', '.join(ids[:3])}) has a "
            f"position in {positions_path.name} (such as {', '.join(positions.index[:3])}); "
            "these files do not belong together."
        )
        raise InputError(msg)
    doubts: tuple[str, ...] = ()
    if lost := len(ids) - len(both):
        doubts = (lacking(lost, "spot", len(ids), "position"),)
    rows = positions.loc[[keys[n] for n in both]]
    spots = ad.AnnData(
        X=counts[both],
        obs=pd.DataFrame(
            {"array_x": rows["x"].to_numpy(), "array_y": rows["y"].to_numpy()},
            index=pd.Index([ids[n] for n in both]),
        ),
        var=pd.DataFrame(index=pd.Index(genes)),
        obsm={"spatial": rows[["pixel_x", "pixel_y"]].to_numpy(np.float64)},
        uns={"spot_diameter_um": ST_DIAMETER_UM, "spot_pitch_um": ST_PITCH_UM},
    )
    if labels_path is not None:
        labels = _read_labels(labels_path)
        spots.obs["label"] = pd.Categorical(labels.reindex([keys[n] for n in both]))
    return spots, doubts


FORMAT = SectionFormat(
    "a legacy ST folder (counts .tsv.gz, positions .tsv, one image)", _recognise, _open, order=10
)
