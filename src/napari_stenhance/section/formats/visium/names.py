"""The files of a Space Ranger folder, told apart by their names alone; nothing heavy is imported.

Any name may carry a prefix (`GSM1234567_A1_…`, `V1_Human_Lymph_Node_…`), text files also `.gz`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import names_in
from napari_stenhance.section.formats.visium.archive import gunzipped, unpacked
from napari_stenhance.section.several import SeveralSamples, listed_samples
from napari_stenhance.section.space_ranger import PICTURE

_PREFIX = r"(?P<prefix>(?:.*[_.\- ])?)"
_H5 = re.compile(_PREFIX + r"(?P<which>filtered|raw)_feature_bc_matrix\.h5")
_FOLDER = re.compile(_PREFIX + r"(?P<which>filtered|raw)_feature_bc_matrix")
_TEXT = re.compile(
    _PREFIX + r"(?P<part>matrix\.mtx|features\.tsv|genes\.tsv|barcodes\.tsv)(?:\.gz)?"
)
_WHICH = re.compile(r"(?:^|[_.\- ])(?P<which>filtered|raw)(?:_feature_bc_matrix)?[_.\- ]$")
_POSITIONS = re.compile(_PREFIX + r"tissue_positions(?:_list)?\.(?:(?:csv|txt)(?:\.gz)?|parquet)")
_SCALEFACTORS = re.compile(_PREFIX + r"scalefactors_json\.json(?:\.gz)?")
_PACKED = re.compile(_PREFIX + r"spatial\.(?:tar\.gz|tgz|tar|zip)")
_TELLING = re.compile(r"tissue_positions|scalefactors_json|spatial\.(?:t|zip)")
_PREFERRED = ("filtered", "", "raw")


@dataclass(frozen=True)
class Counts:
    """One matrix.

    Attributes
    ----------
    which : {"filtered", "raw", ""}
        Of the spots under tissue, of all, or unknown.
    files : tuple of Path
        One HDF5 file, or matrix, features and barcodes.
    """

    which: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class SpaceRangerSample:
    """The files of one sample.

    Attributes
    ----------
    root : Path
        The folder that holds the counts.
    prefix : str
        What its names begin with; "" for none.
    alone : bool
        No other sample lies in the folder.
    counts : Counts
    positions : Path
    scalefactors : Path or None
    pictures : dict of Path
        What Space Ranger drew, by name without prefix and suffix (`tissue_hires_image`).
    """

    root: Path
    prefix: str
    alone: bool
    counts: Counts
    positions: Path
    scalefactors: Path | None = None
    pictures: dict[str, Path] = field(default_factory=dict)


def is_counts(name: str) -> bool:
    """Tell whether a file holds counts and so names a sample."""
    return bool(_H5.fullmatch(name) or _TEXT.fullmatch(name))


def is_beside(name: str) -> bool:
    """Tell whether a file holds positions, scale factors or a picture."""
    return any(pattern.fullmatch(name) for pattern in (_POSITIONS, _SCALEFACTORS, PICTURE))


def is_of_sample(name: str) -> bool:
    """Tell whether a file, packed or not, is of use for a sample."""
    return is_counts(name) or is_beside(name) or _PACKED.fullmatch(name) is not None


def root_of(path: Path) -> Path | None:
    """Find the folder that holds counts and positions of Visium spots: `path` or its `outs`.

    None for anything else. A folder with only a part is one too, so that
    whoever opens it is told what is missing.
    """
    for root in (path, path / "outs"):
        names = names_in(root)
        inner = names_in(root / "spatial") if "spatial" in names else []
        # Thousands of images may lie there: the patterns would take milliseconds.
        telling = [name for name in (*names, *inner) if _TELLING.search(name)]
        if any(map(_POSITIONS.fullmatch, telling)):
            return root
        told = any(map(_SCALEFACTORS.fullmatch, telling)) or any(map(_PACKED.fullmatch, telling))
        if told and _hold_counts(names):
            return root
    return None


def _hold_counts(names: Iterable[str]) -> bool:
    return any(is_counts(name) or _FOLDER.fullmatch(name) for name in names)


def _bare(prefix: str) -> str:
    """Cut separators, and what names the kind of file rather than the sample, off a prefix."""
    bare = prefix.rstrip("_.- ")
    cut = re.sub(
        r"(?:^|[_.\- ])(?:spatial|aggr|(?:filtered|raw)(?:_feature_bc_matrix)?)$", "", bare
    )
    return cut.rstrip("_.- ")


def sample_in(
    root: Path, named: Path | None = None, sample: str | None = None
) -> SpaceRangerSample:
    """Sort the files of a folder that `root_of` found.

    Parameters
    ----------
    root : Path
    named : Path, optional
        A file of counts: of the samples in the folder, the one that it belongs to is meant.
    sample : str, optional
        The prefix of the one that is meant.

    Raises
    ------
    InputError
        If counts or positions are missing; `SeveralSamples` if several lie there, and none is
        named.
    """
    matrices = _matrices(root)
    if not matrices:
        msg = (
            f"{root}: there are positions of Visium spots, but no counts "
            "(filtered_feature_bc_matrix.h5, or matrix.mtx with features.tsv and barcodes.tsv); "
            "open the folder that holds both."
        )
        raise InputError(msg)
    if named is not None:
        matrices = {p: [c for c in found if named in c.files] for p, found in matrices.items()}
    prefixes = sorted(prefix for prefix, found in matrices.items() if found)
    # One without a prefix is called by its counts.
    names = [prefix or matrices[prefix][0].files[0].name for prefix in prefixes]
    if sample is not None:
        if sample not in names:
            raise SeveralSamples.named(str(root), "by their names", names, sample)
        prefixes = [prefixes[names.index(sample)]]
    if len(prefixes) != 1:
        msg = (
            f"{root}: there are several samples: {listed_samples(names)}; name the sample to open."
        )
        raise SeveralSamples(msg, samples=names)
    (prefix,) = prefixes
    alone = len(matrices) == 1
    spatial = root / "spatial"
    files = [(f, name) for f in (spatial, root) for name in sorted(names_in(f))]
    positions, factors, pictures = (
        _belonging(files, pattern, prefix, alone=alone)
        for pattern in (_POSITIONS, _SCALEFACTORS, PICTURE)
    )
    if not positions and (packed := _belonging(files, _PACKED, prefix, alone=alone)):
        # Whatever its files are called, they are of this sample.
        inner = unpacked(packed[0], is_beside)
        inside = [inner / name for name in sorted(names_in(inner))]
        positions, factors, pictures = (
            [file for file in inside if pattern.fullmatch(file.name)]
            for pattern in (_POSITIONS, _SCALEFACTORS, PICTURE)
        )
    if not positions:
        wanted = f"{prefix}_" if prefix else "spatial/"
        msg = (
            f"{root}: the counts have no positions; put {wanted}tissue_positions.csv (or "
            "tissue_positions_list.csv) there."
        )
        raise InputError(msg)
    # A header came with the shorter name: `tissue_positions.csv` is the newer file.
    positions.sort(key=lambda f: (f.parent == root, len(f.name)))
    return SpaceRangerSample(
        root=root,
        prefix=prefix,
        alone=alone,
        counts=min(matrices[prefix], key=lambda c: (_PREFERRED.index(c.which), len(c.files))),
        positions=positions[0],
        scalefactors=factors[0] if factors else None,
        pictures={
            match["what"]: gunzipped(file) if file.suffix == ".gz" else file
            for file in pictures
            if (match := PICTURE.fullmatch(file.name))
        },
    )


def _matrices(root: Path) -> dict[str, list[Counts]]:
    """List the matrices of a folder by prefix."""
    matrices: dict[str, list[Counts]] = {}
    names = sorted(names_in(root))
    for name in names:
        if match := _H5.fullmatch(name):
            counts = Counts(match["which"], (root / name,))
            matrices.setdefault(_bare(match["prefix"]), []).append(counts)
        elif (match := _FOLDER.fullmatch(name)) and (root / name).is_dir():
            for files in _text_matrices(root / name, names_in(root / name)).values():
                counts = Counts(match["which"], files)
                matrices.setdefault(_bare(match["prefix"]), []).append(counts)
    for prefix, files in _text_matrices(root, names).items():
        which = match["which"] if (match := _WHICH.search(prefix)) else ""
        matrices.setdefault(_bare(prefix), []).append(Counts(which, files))
    return matrices


def _text_matrices(folder: Path, names: Iterable[str]) -> dict[str, tuple[Path, ...]]:
    """Find each matrix with its features and barcodes, by what their names begin with."""
    parts: dict[str, dict[str, Path]] = {}
    for name in sorted(names):
        if match := _TEXT.fullmatch(name):
            # Plain before gzipped.
            parts.setdefault(match["prefix"], {}).setdefault(match["part"], folder / name)
    found: dict[str, tuple[Path, ...]] = {}
    for prefix, part in parts.items():
        features = part.get("features.tsv") or part.get("genes.tsv")
        if features is not None and {"matrix.mtx", "barcodes.tsv"} <= set(part):
            found[prefix] = (part["matrix.mtx"], features, part["barcodes.tsv"])
    return found


def roots_of(path: Path) -> tuple[Path | None, Path | None]:
    """Find what a path is of: a folder of samples, or an aggregate that it is one sample of.

    Returns
    -------
    root : Path or None
        Of `path`, a folder, or one of the files of counts in it.
    aggregate : Path or None
        Where there is no root.
    """
    if path.is_dir():
        root = root_of(path)
        return root, aggregate_above(path) if root is None else None
    return root_of(path.parent) if is_counts(path.name) and path.is_file() else None, None


def aggregate_above(folder: Path) -> Path | None:
    """Find the root of `spaceranger aggr` from the folder of one of its samples."""
    if not any(map(_SCALEFACTORS.fullmatch, filter(_TELLING.search, names_in(folder)))):
        return None
    for root in (folder.resolve().parent, folder.resolve().parent.parent):
        names = names_in(root)
        positions = [n for n in (*names, *names_in(root / "spatial")) if n.startswith("aggr_")]
        if _hold_counts(names) and any(_POSITIONS.fullmatch(name) for name in positions):
            return root
    return None


def one_of(sample: SpaceRangerSample, folder: Path) -> SpaceRangerSample:
    """Return an aggregate with the scale factors and pictures of one of its samples."""
    files = [folder / name for name in sorted(names_in(folder))]
    factors = next(f for f in files if _SCALEFACTORS.fullmatch(f.name))
    pictures = {m["what"]: f for f in files if (m := PICTURE.fullmatch(f.name))}
    return replace(sample, scalefactors=factors, pictures=pictures)


def sample_folders(root: Path) -> list[Path]:
    """List the folders of the samples in an aggregate."""
    inside = [f / name for f in (root, root / "spatial") for name in sorted(names_in(f))]
    return [f for f in inside if aggregate_above(f) is not None and f.name != "spatial"]


def _belonging(
    files: Collection[tuple[Path, str]], pattern: re.Pattern[str], prefix: str, *, alone: bool
) -> list[Path]:
    """Return the files of one kind and one sample.

    Barcodes are the same on every slide: files of two samples would join without complaint. So
    prefixes must agree, unless there is one sample and one of the two has no prefix.
    """
    found = [
        (folder / name, _bare(m["prefix"]))
        for folder, name in files
        if (m := pattern.fullmatch(name))
    ]
    same = [f for f, file_prefix in found if file_prefix == prefix]
    if same or not alone:
        return same
    others = {file_prefix for _, file_prefix in found}
    return [f for f, _ in found] if len(others) == 1 and "" in {prefix, *others} else []
