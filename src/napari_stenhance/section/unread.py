"""What people bring that no format reads: called by its name, with the way that works."""

from __future__ import annotations

import re
from pathlib import Path

from napari_stenhance.section.formats.format import format_of, names_in

_AS_H5AD = (
    "make an AnnData of its raw counts, with the positions in pixels of the H&E image as "
    'obsm["spatial"], and give that as .h5ad with the H&E beside it'
)
_LISTED_MOST, _LOOKED_AT = 8, 50
_ARCHIVE = re.compile(r".+\.(?:tar|tgz|tar\.\w+|zip|7z|rar)", re.IGNORECASE)
_TAR = re.compile(r".+\.(?:tar|tgz|tar\.\w+)", re.IGNORECASE)
_KINDS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(names, re.IGNORECASE), what, way)
    for names, what, way in (
        (
            r".*_fov_positions_file\.csv(\.gz)?",
            "CosMx without its counts",
            "put …_exprMat_file.csv and …_metadata_file.csv beside it",
        ),
        (
            r"detected_transcripts\.(csv|parquet)",
            "MERSCOPE without counts of cells",
            "put cell_by_gene.csv and cell_metadata.csv beside it",
        ),
        (r".+\.(rds|rda|rdata|h5seurat)", "an object of R", _AS_H5AD),
        (r".+\.(h5mu|loom)", "a table of counts in another format", _AS_H5AD),
        (
            r".+\.(vms|vmu|lif|nd2|oir|oib|oif|tmap|kfb|sdpc|mds)",
            "a slide in another format",
            "export it from the scanner's software as OME-TIFF or tiled TIFF",
        ),
        (
            r".*feature_bc_matrix(\.h5)?|.*matrix\.mtx(\.gz)?",
            "a matrix of counts without the positions of its spots",
            "put Space Ranger's folder spatial, with its tissue_positions, beside it",
        ),
    )
)


def known_by_name(path: Path) -> str:
    """Say of a file or a folder that no format reads what it is, and which way works.

    Parameters
    ----------
    path : Path
        It is there.

    Returns
    -------
    str
        A sentence; "" if its names tell nothing.
    """
    if path.is_file():
        names = [path.name]
        if _ARCHIVE.fullmatch(path.name):
            how = f" (tar -xf {path.name})" if _TAR.fullmatch(path.name) else ""
            return f"{path}: this is an archive; unpack it{how}, and give the folder."
    else:
        names = [path.name, *names_in(path), *names_in(path / "outs"), *names_in(path / "spatial")]
        packed = sorted(filter(_ARCHIVE.fullmatch, names_in(path)))
        if packed:
            rest = f" and {len(packed) - 1} more" if len(packed) > 1 else ""
            return (
                f"{path}: no section that can be read lies there unpacked; unpack {packed[0]}"
                f"{rest} there, each sample in a folder of its own with its counts, and give that "
                "folder."
            )
    for pattern, what, way in _KINDS:
        if named := next(filter(pattern.fullmatch, names), ""):
            return f"{path}: by {named}, this is {what}, which is not read as it is; {way}."
    inside = [] if path.is_file() else _sections_in(path)
    if inside:
        listed = ", ".join(inside[:_LISTED_MOST]) + (" …" if len(inside) > _LISTED_MOST else "")
        return f"{path}: this is no section itself, but holds some: {listed}; name one of them."
    return ""


def _sections_in(folder: Path) -> list[str]:
    """List the folders in a folder that are sections, of a few that are looked at."""
    names = sorted(name for name in names_in(folder) if (folder / name).is_dir())
    return [name for name in names[:_LOOKED_AT] if format_of(folder / name) is not None]
