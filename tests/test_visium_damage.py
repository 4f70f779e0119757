"""Damaged and foreign Space Ranger folders: one sentence each, or no section at all."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import pytest

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.formats.visium import FORMAT
from napari_stenhance.section.section import open_section

if TYPE_CHECKING:
    pass

from visium_folders import (
    HIRES,
    known,
    write_mex,
    write_outs,
    write_text,
)


def _change(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(outs: Path) -> None:
        text = (outs / name).read_text()
        assert old in text
        (outs / name).write_text(text.replace(old, new))

    return change


def _put(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda outs: (outs / name).write_bytes(content) and None


def _remove(name: str) -> Callable[[Path], None]:
    return lambda outs: (outs / name).unlink()


def _tear(name: str) -> Callable[[Path], None]:
    def tear(outs: Path) -> None:
        content = (outs / name).read_bytes()
        (outs / name).write_bytes(content[: len(content) // 2])

    return tear


def _edit_h5(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(outs: Path) -> None:
        with h5py.File(outs / "filtered_feature_bc_matrix.h5", "r+") as file:
            change(file["matrix"])

    return edit


def _write(dataset: str, index: Any, value: Any) -> Callable[[Any], None]:
    def write(group: Any) -> None:
        values = group[dataset][:]
        values[index] = value
        group[dataset][:] = values

    return write


def _as_mex(then: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(outs: Path) -> None:
        (outs / "filtered_feature_bc_matrix.h5").unlink()
        write_mex(outs / "filtered_feature_bc_matrix", known())
        then(outs)

    return change


H5 = "filtered_feature_bc_matrix.h5"
MEX = "filtered_feature_bc_matrix"
CSV = "spatial/tissue_positions.csv"
JSON = "spatial/scalefactors_json.json"


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (_remove(CSV), r"S1: the counts have no positions; put spatial/tissue_positions\.csv"),
        (_remove(H5), r"S1: there are positions of Visium spots, but no counts"),
        (_put(CSV, b""), r"tissue_positions\.csv: the positions cannot be read"),
        (_change(CSV, ",60.0\n", ",here\n"), r"positions\.csv: .*'here'"),
        (_change(CSV, "in_tissue,", "here,"), r"csv: .*no column in_tissue, only barcode, here"),
        (_change(CSV, ",1,2,4,", ",1,,4,"), r"positions\.csv: .*a line lacks its barcode"),
        (_change(CSV, ",1,", ",0,"), r"positions\.csv: no spot .* under tissue"),
        (_change(CSV, "-1,", "-3,"), r"matrix\.h5: none of its barcodes .*-1\) has a position"),
        (_put(CSV, b"\x1f\x8b\0\xff 1"), r"tissue_positions\.csv: the positions cannot be read"),
        (_put(JSON, b"{"), r"scalefactors_json\.json: the scale factors cannot be read"),
        (_put(JSON, b"[1]"), r"scalefactors_json\.json: the scale factors cannot be read"),
        (_put(JSON, b'{"tissue_hires_scalef": "a"}'), r"json: the scale factors .*'a'"),
        (_put(JSON, b'{"tissue_hires_scalef": 0}'), r"json: .*tissue_hires_scalef is 0"),
        (_tear(H5), r"filtered_feature_bc_matrix\.h5: this is no HDF5 file that can be read"),
        (_put(H5, b"no HDF5"), r"matrix\.h5: this is no HDF5 file that can be read"),
        (_edit_h5(lambda m: m.pop("indptr")), r"h5: the counts cannot be read .*indptr"),
        (_edit_h5(_write("shape", 0, 5)), r"h5: the counts cannot be read"),
        (_edit_h5(_write("shape", 0, 9)), r"h5: .*it counts 9 features .* but names 6"),
        (_edit_h5(_write("indices", 3, 99)), r"h5: the counts cannot be read"),
        (_edit_h5(_write("data", 0, -4)), r"h5: the count of gene ACTB in spot [ACGT]+-1 is -4"),
        (_edit_h5(_write("features/feature_type", slice(None), b"Custom")), r"only Custom"),
        (_edit_h5(lambda m: _write("barcodes", 1, m["barcodes"][0])(m)), r"more than once"),
        (_as_mex(_tear(f"{MEX}/matrix.mtx.gz")), r"matrix\.mtx\.gz: the counts cannot be read"),
        (_as_mex(_tear(f"{MEX}/barcodes.tsv.gz")), r"barcodes\.tsv\.gz: this cannot be read"),
        (_as_mex(_remove(f"{MEX}/features.tsv.gz")), r"no counts .*matrix\.mtx with features"),
        (
            _as_mex(_put(f"{MEX}/features.tsv.gz", gzip.compress(b"ENSG01\n"))),
            r"features\.tsv\.gz: a line has fewer than",
        ),
    ],
)
def test_damage_is_said_in_one_sentence(
    damage: Callable[[Path], None], match: str, tmp_path: Path
) -> None:
    outs = write_outs(tmp_path / "S1", known())
    damage(outs)
    with pytest.raises(InputError, match=match) as error:
        open_section(outs)
    assert "\n" not in str(error.value)
    reader = get_reader(str(outs))
    assert reader is not None
    with pytest.raises(InputError, match=match):
        reader(str(outs))


def test_a_barcode_with_two_positions_is_refused(tmp_path: Path) -> None:
    outs = write_outs(tmp_path / "S1", known())
    lines = (outs / CSV).read_text().splitlines()
    (outs / CSV).write_text("\n".join([*lines, lines[5]]))
    with pytest.raises(InputError, match=rf"{lines[5][:18]} has two positions"):
        open_section(outs)


def test_positions_in_pixels_of_a_picture_are_refused(tmp_path: Path) -> None:
    what = known()
    what.xy = what.xy * HIRES
    outs = write_outs(tmp_path / "S1", what)
    with pytest.raises(
        InputError, match=r"lie 10\.0 px apart, .* imply 40\.0: these are pixels of tissue_hires"
    ):
        open_section(outs)


# What is not ours


@pytest.mark.parametrize(
    ("names", "is_another_assay"),
    [
        ((), False),
        (("filtered_feature_bc_matrix.h5", "web_summary.html"), False),
        (("binned_outputs/square_008um/spatial/tissue_positions.parquet",), True),
        (("cell_feature_matrix.h5", "experiment.xenium", "cells.parquet"), True),
        (("matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"), False),
        (("spatial/notes.txt", "table.h5ad.bak"), False),
    ],
)
def test_other_folders_are_not_taken(
    names: tuple[str, ...], is_another_assay: bool, tmp_path: Path
) -> None:
    for name in names:
        write_text(tmp_path / name, "")
    assert not FORMAT.recognise(tmp_path)
    assert not FORMAT.recognise(tmp_path / "nothing")
    assert (get_reader(str(tmp_path)) is not None) == is_another_assay
    for file in tmp_path.rglob("*.*"):
        assert not FORMAT.recognise(file)


def test_recognising_takes_milliseconds(tmp_path: Path) -> None:
    outs = write_outs(tmp_path / "S1", known())
    for n in range(2000):
        (outs / f"tile_{n:04d}_of_the_slide.tsv.bak").touch()
    (tmp_path / "many").mkdir()
    for n in range(2000):
        (tmp_path / "many" / f"tile_{n:04d}_of_the_slide.tif").touch()
    for path in (outs, tmp_path / "many"):
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            FORMAT.recognise(path)
            seconds.append(time.perf_counter() - started)
        # A tenth of it where nothing else runs.
        assert min(seconds) < 0.05


# A real one
