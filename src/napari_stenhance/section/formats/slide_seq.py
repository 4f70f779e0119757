"""Slide-seq and Curio Seeker: beads of 10 µm, in a unit that no file states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted, lacking
from napari_stenhance.section.formats.format import SectionFiles, SectionFormat, names_in
from napari_stenhance.section.several import SeveralSamples
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.spots import SpotGeometry

_LOCATIONS = re.compile(
    r"(?P<sample>.*?)[_.]?(?:BeadLocationsForR|bead_locations|MatchedBeadLocation)\.csv(?:\.gz)?",
    re.IGNORECASE,
)
_DENSE = ("MappedDGEForR.csv", "digital_expression.txt")
_MATRIX = ("MoleculesPerMatchedBead.mtx", "genes.tsv", "barcodes.tsv")
_X, _Y = ("xcoord", "x", "sx", "x_um"), ("ycoord", "y", "sy", "y_um")
BEAD_UM = 10.0
_ADVICE = "export it again"


@dataclass(frozen=True)
class _Puck:
    """The files of one puck: locations, and one dense table or matrix, genes and barcodes."""

    locations: Path
    counts: tuple[Path, ...]


def _pucks(folder: Path) -> dict[str, _Puck]:
    names = sorted(names_in(folder))
    found = {}
    for name in names:
        match = _LOCATIONS.fullmatch(name) if "ead" in name else None
        if match is None:
            continue
        counts = [_part(folder, names, match["sample"], part) for part in _DENSE]
        parts = [_part(folder, names, match["sample"], part) for part in _MATRIX]
        chosen: tuple[Path, ...] = next(((file,) for file in counts if file), ())
        if all(parts):
            chosen = tuple(file for file in parts if file)
        found[match["sample"]] = _Puck(folder / name, chosen)
    return found


def _part(folder: Path, names: list[str], sample: str, part: str) -> Path | None:
    """Find a part of a sample, with a dot or a line after its name, gzipped or not."""
    wanted = {f"{sample}{dash}{part}".lower() for dash in ("_", ".", "")}
    wanted |= {f"{name}.gz" for name in wanted}
    return next((folder / name for name in names if name.lower() in wanted), None)


def _recognise(path: Path) -> bool:
    if path.is_file():
        return path in {file for puck in _pucks(path.parent).values() for file in puck.counts}
    return bool(_pucks(path))


def _open(path: Path, sample: str | None = None) -> SectionFiles:
    pucks = _pucks(path.parent if path.is_file() else path)
    if path.is_file():
        pucks = {name: puck for name, puck in pucks.items() if path in puck.counts}
    names = list(pucks)
    if sample not in {None, *names} or (sample is None and len(names) > 1):
        raise SeveralSamples.named(str(path), "by their files", names, sample)
    name = names[0] if sample is None else sample
    puck = pucks[name]
    if not puck.counts:
        msg = (
            f"{puck.locations}: there are no counts of these beads; put {_DENSE[0]}, "
            f"{_DENSE[1]}.gz or {_MATRIX[0]} with genes and barcodes beside it, under its name."
        )
        raise InputError(msg)
    ids, xy = _read_locations(puck.locations)
    folder = puck.locations.parent.resolve()
    return SectionFiles(
        name=name or folder.name,
        origin=puck.counts[0],
        images=(),
        xy=xy,
        mpp=None,
        mpp_source="unknown",
        read=partial(_read, puck, ids, xy),
        without="No slide was found: give one that lies as the beads do.",
        geometry=partial(_geometry, xy),
    )


def _geometry(xy: NDArray[np.float64], mpp: float | None) -> tuple[SpotGeometry, str]:
    from napari_stenhance.section.spots import SpotGeometry, nearest_distance

    pitch = nearest_distance(xy)
    if mpp is not None:
        said = f"Beads are {BEAD_UM:g} µm wide, and the nearest lie {pitch * mpp:.3g} µm apart."
        return SpotGeometry(BEAD_UM, "disc", pitch * mpp, "micrometer"), said
    said = (
        f"No file states the unit of positions: the nearest beads, {BEAD_UM:g} µm wide, lie "
        f"{pitch:.3g} units apart; 1 µm per unit is right if that is 10 to 13, and pixels of the "
        "puck's image are about 0.65 µm."
    )
    return SpotGeometry(pitch, "disc", pitch, "pixel"), said


def _read_locations(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Read beads: barcode, x, y, with a header or without, an unnamed column before it or not."""
    import numpy as np
    import pandas as pd

    from napari_stenhance.section.tables.claims import read_positions_text

    with reading(path, "the locations of beads", _ADVICE):
        content = read_positions_text(path, b",")
        table = pd.read_csv(content, header=None, dtype=str, encoding="utf-8-sig").fillna("")
        if table.shape[1] < 3:
            msg = f"it has {table.shape[1]} columns, not barcode, x and y"
            raise ValueError(msg)
        head = [cell.strip().lower() for cell in table.iloc[0]]
        places: list[int | None] = [
            next((head.index(name) for name in names if name in head), None) for names in (_X, _Y)
        ]
        if None not in places:
            table = table.iloc[1:]
        elif any(map(_is_number, head)):
            # No header: the last two columns are x and y.
            places = [table.shape[1] - 2, table.shape[1] - 1]
        else:
            msg = f"there are no columns xcoord and ycoord, only {', '.join(head[:12])}"
            raise ValueError(msg)
        others = [n for n in range(table.shape[1]) if n not in places]
        # A number of the row may come first, and says nothing.
        texts = [n for n in others if not table.iloc[:100, n].map(_is_number).all()]
        ids = table[(texts or others)[0]].str.strip()
        xy = table[places].astype(float).to_numpy(np.float64)
        if not ids.is_unique:
            msg = f"the barcode {ids[ids.duplicated()].iloc[0]} occurs more than once"
            raise ValueError(msg)
        if not len(ids) or not np.isfinite(xy).all():
            msg = "a bead has no x or y, or there are none"
            raise ValueError(msg)
    return ids.tolist(), xy


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read(
    puck: _Puck, placed: list[str], xy: NDArray[np.float64]
) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad
    import pandas as pd

    path = puck.counts[0]
    with reading(path, "the counts", _ADVICE):
        ids, genes, counts = _counts(puck.counts)
        if len(set(genes)) < len(genes):
            twice = len(genes) - len(set(genes))
            msg = f"{counted(twice, 'gene')} {agree(twice, 'occurs', 'occur')} more than once"
            raise ValueError(msg)
        if len(set(ids)) < len(ids):
            twice = len(ids) - len(set(ids))
            msg = f"{counted(twice, 'barcode')} {agree(twice, 'occurs', 'occur')} more than once"
            raise ValueError(msg)
    at = pd.Index(placed).get_indexer(pd.Index(ids))
    if (at < 0).all():
        # Some programs number the barcodes, as -1.
        at = pd.Index(placed).get_indexer(pd.Index([i.rsplit("-", 1)[0] for i in ids]))
    known = at >= 0
    doubts: tuple[str, ...] = ()
    if not known.any():
        msg = (
            f"{path}: none of its barcodes (such as {', '.join(ids[:2])}) is in "
            f"{puck.locations.name} (such as {', '.join(placed[:2])}); these files do not belong "
            "together."
        )
        raise InputError(msg)
    if not known.all():
        lost = int((~known).sum())
        doubts = (lacking(lost, "bead", len(known), "position"),)
    spots = ad.AnnData(
        X=counts[known],
        obs=pd.DataFrame(index=pd.Index(ids)[known]),
        var=pd.DataFrame(index=pd.Index(genes)),
        obsm={"spatial": xy[at[known]]},
    )
    return spots, doubts


def _counts(files: tuple[Path, ...]) -> tuple[list[str], list[str], Any]:
    """Return barcodes, genes and the counts of beads × genes."""
    import numpy as np

    from napari_stenhance.section.tables.claims import lines, opened_text
    from napari_stenhance.section.tables.counts import checked_counts
    from napari_stenhance.section.tables.matrix_market import read_matrix_market
    from napari_stenhance.section.tables.wide import read_wide_counts

    if len(files) == 1:
        wide = read_wide_counts(files[0], lambda n, name: n == 0)
        (genes,) = wide.ids.values()
        return wide.columns, genes, wide.counts.T.tocsr()
    named = []
    for path in files[1:]:
        with opened_text(path) as file:
            named.append([line.split("\t")[0].strip('"') for line in lines(file) if line.strip()])
    genes, ids = named
    counts = checked_counts(read_matrix_market(files[0], (len(genes), len(ids))))
    return ids, genes, counts.astype(np.float32)


FORMAT = SectionFormat(
    "Slide-seq or Curio files (…BeadLocationsForR.csv, …MatchedBeadLocation.csv)",
    _recognise,
    _open,
    _open,
    order=29,
)
