"""Tables as R, Excel and others export them: the same positions, whoever wrote them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from made_sections import write_image
from napari_stenhance.errors import InputError
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.section.tables.exported import numbers_in, read_exported
from test_prefix import COUNTS, IDS, positions, write_files
from visium_folders import HEADER, Known, known, write_factors, write_h5, write_positions

CSV = "tissue_positions.csv"


def rows(what: Known) -> list[list[str]]:
    return [
        [b, str(t), str(r), str(c), repr(float(y)), repr(float(x))]
        for b, t, (r, c), (x, y) in zip(
            what.barcodes, what.in_tissue, what.array, what.xy, strict=True
        )
    ]


def joined(lines: list[list[str]], separator: str = ",", **options: object) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n", **options).writerows(lines)  # type: ignore[arg-type]
    return text.getvalue().encode()


NAMES = HEADER.split(",")
SEURAT = ["tissue", "row", "col", "imagerow", "imagecol"]
WAYS: dict[str, Callable[[list[list[str]]], bytes]] = {
    "semicolons": lambda r: joined([NAMES, *r], ";"),
    "decimal commas": lambda r: joined(
        [NAMES, *([c.replace(".", ",") for c in x] for x in r)], ";"
    ),
    "Excel's own line": lambda r: b"sep=;\n" + joined([NAMES, *r], ";"),
    "tabs": lambda r: joined([NAMES, *r], "\t"),
    "quoted": lambda r: joined([NAMES, *r], quoting=csv.QUOTE_ALL),
    "one column": lambda r: joined([[joined([x]).decode().strip()] for x in [NAMES, *r]]),
    "TRUE": lambda r: joined([NAMES, *([b, ("FALSE", "TRUE")[int(t)], *x] for b, t, *x in r)]),
    "V1": lambda r: joined([[f"V{n}" for n in range(1, 7)], *r], quoting=csv.QUOTE_ALL),
    "V1 and row numbers": lambda r: joined(
        [["", *(f"V{n}" for n in range(1, 7))], *([str(n), *x] for n, x in enumerate(r, 1))]
    ),
    "Seurat": lambda r: joined([["", *SEURAT], *r]),
    "write.table": lambda r: joined([SEURAT, *r], "\t", quoting=csv.QUOTE_NONNUMERIC),
    "capitals": lambda r: joined([[n.upper() for n in NAMES], *r]),
    "other order": lambda r: joined([x[::-1] for x in [NAMES, *r]]),
    "BOM": lambda r: b"\xef\xbb\xbf" + joined([NAMES, *r]),
    "UTF-16": lambda r: joined([NAMES, *r], "\t").decode().encode("utf-16"),
    "CRLF, no header": lambda r: joined(r).replace(b"\n", b"\r\n"),
    "no -1": lambda r: joined([NAMES, *([b.removesuffix("-1"), *x] for b, *x in r)]),
}


def opened(folder: Path, text: bytes) -> Section:
    write_h5(folder / "filtered_feature_bc_matrix.h5", known())
    (folder / "spatial").mkdir(exist_ok=True)
    (folder / "spatial" / CSV).write_bytes(text)
    write_factors(folder / "spatial" / "scalefactors_json.json")
    return open_section(folder)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Section:
    folder = tmp_path_factory.mktemp("right")
    write_positions(folder / "spatial" / CSV, known())
    return opened(folder, (folder / "spatial" / CSV).read_bytes())


@pytest.mark.parametrize("way", WAYS)
def test_positions_are_the_same_whoever_wrote_them(
    way: str, right: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What HDF5 holds is the same every time, and looked through in its own tests.
    monkeypatch.setattr("napari_stenhance.section.tables.tenx.look_through", lambda path: None)
    section = opened(tmp_path, WAYS[way](rows(known())))
    one, other = section.need_spots(), right.need_spots()
    assert list(one.obs_names) == list(other.obs_names)
    np.testing.assert_array_equal(one.obsm["spatial"], other.obsm["spatial"])
    pd.testing.assert_frame_equal(one.obs, other.obs)
    np.testing.assert_array_equal(one.X.toarray(), other.X.toarray())
    assert section.mpp == right.mpp
    new = set(section.doubts) - set(right.doubts)
    assert len(new) == (way == "no -1")


def test_what_is_no_table_of_positions_names_the_columns_that_are_there(tmp_path: Path) -> None:
    for header, match in (
        (["id", "a", "b", "c", "d", "e"], "no column barcode, only id, a, b, c, d, e"),
        (["barcode", "x", "y", "z", "u", "v"], "no column in_tissue, only barcode, x, y"),
    ):
        with pytest.raises(InputError, match=match) as said:
            opened(tmp_path, joined([header, *rows(known())]))
        assert "its columns must be barcode, in_tissue, array_row" in str(said.value)


def test_factors_that_are_null_are_not_known(right: Section, tmp_path: Path) -> None:
    for factors in (
        {"tissue_hires_scalef": None, "fiducial_diameter_fullres": [42.0], "gem_id": "NA"},
        {"tissue_hires_scalef": [None], "tissue_lowres_scalef": {}},
    ):
        opened(tmp_path, joined([NAMES, *rows(known())]))
        (tmp_path / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors))
        section = open_section(tmp_path)
        assert section.mpp == right.mpp
        np.testing.assert_array_equal(
            section.need_spots().obsm["spatial"], right.need_spots().obsm["spatial"]
        )


@pytest.mark.parametrize("separator", [",", ";"])
def test_prefix_files_may_be_csv(separator: str, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "S1", image="")
    for name in ("cnts", "locs-raw"):
        text = (folder / f"{name}.tsv").read_text().replace("\t", separator)
        (folder / f"{name}.csv").write_text(text)
        (folder / f"{name}.tsv").unlink()
    write_image(folder / "he-raw.png", np.full((250, 260, 3), 200, np.uint8))
    section = open_section(folder)
    spots = section.need_spots()
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
    np.testing.assert_array_equal(spots.obsm["spatial"], positions())
    assert tuple(spots.obs_names) == IDS
    assert section.need_slide().path.name == "he-raw.png"


def test_cells_are_read_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('id;x;y\n"a;b";1,5;NA\nNA; 2 ;-3e2\n')
    table = read_exported(file)
    assert list(table["id"]) == ["a;b", "NA"]
    np.testing.assert_array_equal(numbers_in(table["x"]), [1.5, 2])
    np.testing.assert_array_equal(numbers_in(table["y"]), [np.nan, -300])
    with pytest.raises(ValueError, match="left"):
        numbers_in(pd.Series(["1", "left"]))
    file.write_text("a,b\n1,2,3,4\n1,2\n")
    with pytest.raises(ValueError, match="fields"):
        read_exported(file)


def test_a_comma_of_thousands_is_none_of_decimals() -> None:
    for cells, right in (
        (["1,234", "987"], [1234, 987]),
        (["1,234", "1,234,567"], [1234, 1234567]),
        (["1,234.5", "12,345"], [1234.5, 12345]),
        (["1,234", "0,5"], [1.234, 0.5]),
        (["1,234", "1234,567", "7"], [1.234, 1234.567, 7]),
    ):
        np.testing.assert_array_equal(numbers_in(pd.Series(cells)), right)
    with pytest.raises(ValueError, match=r"12,345 may be 12\.345 or 12345: write numbers without"):
        numbers_in(pd.Series(["12,345", "1,234"]))
