"""The folders of a Visium HD run, told by their names; nothing heavy is imported.

Downloads are often of `binned_outputs` alone, or of one size of bins.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import names_in, text_matrix_in
from napari_stenhance.section.several import SeveralSamples

_SIZE = re.compile(r"(?:.*[_.\- ])?square_(?P<um>\d+)um", re.IGNORECASE)
_CELLS = "segmented_outputs"
_OUTLINES = re.compile(r"(?:.*[_.\- ])?cell_segmentations\.geojson", re.IGNORECASE)
_POSITIONS = re.compile(r"(?:.*[_.\- ])?tissue_positions\.parquet")
_MATRIX = re.compile(
    r"(?:.*[_.\- ])?(?P<which>filtered|raw)_feature_(?:bc|cell)_matrix(?P<h5>\.h5)?"
)
_ABOVE = ("binned_outputs", _CELLS, "outs")
_DEFAULT_UM = (8, 16)
_FACTORS_MOST = 2**20
_HOW = "by its folder"
CORNER = 0.5
"""Pixels are counted from the corner of the first here, and from its centre in a section."""


@dataclass(frozen=True)
class HdFolder:
    """One size of bins, or the cells, of a run.

    Attributes
    ----------
    folder : Path
        Where counts and positions lie.
    cells : bool
    size_um : int or None
        The side of a bin, as the folder's name says.
    others : tuple of str
        What else lies beside it, where it was chosen.
    """

    folder: Path
    cells: bool
    size_um: int | None
    others: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """The folder of the whole run."""
        path = self.folder.resolve()
        if path.name == _CELLS or _SIZE.fullmatch(path.name):
            path = path.parent
        while path.name in _ABOVE:
            path = path.parent
        return path

    @property
    def name(self) -> str:
        """The run's name, and what is read of it where that is not bins of 8 µm."""
        if self.cells:
            return f"{self.home.name}-cells"
        return self.home.name if self.size_um in {None, 8} else f"{self.home.name}-{self.size_um}um"

    def positions(self) -> Path:
        """Return the positions of bins, or the outlines of cells.

        Raises
        ------
        InputError
            If they are missing.
        """
        pattern = _OUTLINES if self.cells else _POSITIONS
        for folder in (self.folder / "spatial", self.folder):
            found = [folder / n for n in sorted(names_in(folder), key=len) if pattern.fullmatch(n)]
            if found:
                return found[0]
        wanted = "cell_segmentations.geojson" if self.cells else "spatial/tissue_positions.parquet"
        msg = f"{self.folder}: {wanted} is missing; copy the whole folder of the run."
        raise InputError(msg)

    def spatial(self, ending: str) -> list[Path]:
        """List what ends with a name, beside the positions."""
        folders = (self.folder / "spatial", self.folder)
        return [f / n for f in folders for n in sorted(names_in(f), key=len) if n.endswith(ending)]

    def counts(self) -> tuple[str, tuple[Path, ...]]:
        """Return whether the counts are filtered or raw, and their files: the filtered first.

        Raises
        ------
        InputError
            If there are none.
        """
        named = [
            (m, n) for n in sorted(names_in(self.folder), key=len) if (m := _MATRIX.fullmatch(n))
        ]
        for which in ("filtered", "raw"):
            for match, name in named:
                if match["which"] == which and match["h5"]:
                    return which, (self.folder / name,)
            for match, name in named:
                if match["which"] == which and (files := text_matrix_in(self.folder / name)):
                    return which, files
        kind = "cell" if self.cells else "bc"
        msg = (
            f"{self.folder}: there are no counts; put filtered_feature_{kind}_matrix.h5 there, as "
            "Space Ranger writes it."
        )
        raise InputError(msg)


def is_hd(path: Path) -> bool:
    """Tell whether a path is a Visium HD run, a part of it, or the counts in a part."""
    if path.is_file():
        return bool(_MATRIX.fullmatch(path.name)) and _one(path.parent) is not None
    return path.is_dir() and (_one(path) is not None or any(map(_inside, (path, path / "outs"))))


def find(path: Path, part: str | None = None) -> HdFolder:
    """Find what is meant by a path that `is_hd` took: of a whole run, the bins of 8 µm.

    Parameters
    ----------
    path : Path
    part : str, optional
        The folder that is meant, such as square_016um.

    Raises
    ------
    InputError
        If the folder of bins is empty, or none is called so.
    """
    one = _one(path.parent if path.is_file() else path)
    if one is not None:
        if part not in {None, one.folder.name}:
            raise SeveralSamples.named(str(path), _HOW, (one.folder.name,), part)
        return one
    every = next(inside for root in (path, path / "outs") if (inside := _inside(root)))
    sizes = [folder for folder in every if folder.size_um is not None]
    # Larger than 16 µm before smaller than 8: bins of 2 µm fill the memory of most machines.
    sizes.sort(
        key=lambda f: (
            _DEFAULT_UM.index(f.size_um) if f.size_um in _DEFAULT_UM else len(_DEFAULT_UM),
            -(f.size_um or 0),
        )
    )
    named = [folder for folder in every if folder.folder.name == part]
    if part is not None and not named:
        parts = [folder.folder.name for folder in every]
        raise SeveralSamples.named(str(path), _HOW, parts, part)
    chosen = (named or sizes or every)[0]
    if chosen.folder.name == "binned_outputs":
        msg = f"{chosen.folder}: there are no bins in it (square_008um); copy the whole folder."
        raise InputError(msg)
    others = () if named else tuple(sorted(f.folder.name for f in every if f is not chosen))
    return HdFolder(chosen.folder, chosen.cells, chosen.size_um, others)


def _one(folder: Path) -> HdFolder | None:
    """Return a folder of one size of bins, or of cells; None if it is neither."""
    names = names_in(folder)
    if any(_OUTLINES.fullmatch(name) for name in names if "cell_seg" in name):
        return HdFolder(folder, True, None)
    spatial = folder / "spatial"
    inner = names_in(spatial) if "spatial" in names else []
    named = _SIZE.fullmatch(folder.resolve().name)
    if not any(map(_POSITIONS.fullmatch, [n for n in (*names, *inner) if "tissue_pos" in n])):
        return HdFolder(folder, False, int(named["um"])) if named and "spatial" in names else None
    if named:
        return HdFolder(folder, False, int(named["um"]))
    # Visium of spots may have its positions in Parquet, too, but no bins.
    for where, name in [(spatial, n) for n in inner] + [(folder, n) for n in names]:
        if name.endswith("scalefactors_json.json"):
            return HdFolder(folder, False, None) if _states_bins(where / name) else None
    return None


def _states_bins(factors: Path) -> bool:
    try:
        with factors.open("rb") as file:
            return "bin_size_um" in json.loads(file.read(_FACTORS_MOST))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _inside(root: Path) -> list[HdFolder]:
    """List the sizes of bins, and the cells, that lie in a folder or its `binned_outputs`."""
    names, binned = names_in(root), root / "binned_outputs"
    below = names_in(binned) if binned.name in names else []
    found = [
        HdFolder(folder / name, False, int(match["um"]))
        for folder, inner in ((root, names), (binned, below))
        for name in sorted(inner)
        if "square" in name and (match := _SIZE.fullmatch(name)) and (folder / name).is_dir()
    ]
    found += [HdFolder(root / _CELLS, True, None)] * (_CELLS in names)
    return found or [HdFolder(binned, False, None)] * (binned.name in names)
