"""One table of spots as people write one: as text or Parquet, its columns found by their names."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_stenhance.errors import InputError
from napari_stenhance.section.section import open_section
from visium_folders import picture

GENES = ["ACTB", "EPCAM", "MT-CO1"]
COUNTS = np.array([[1, 0, 2], [0, 5, 0], [3, 3, 3], [0, 0, 700]])
XY = np.array([[100.5, 20], [160.5, 20], [100.5, 80.25], [160.5, 80]])
IDS = ["b0", "b1", "b2", "b3"]


def frame(x: str = "x", y: str = "y", *, ids: str = "barcode") -> pd.DataFrame:
    table = pd.DataFrame({x: XY[:, 0], "cluster": [1, 2, 1, 2], y: XY[:, 1]})
    table.insert(0, ids, IDS)
    table["kind"] = ["tumour", "stroma", "tumour", "fat"]
    for gene, count in zip(GENES, COUNTS.T, strict=True):
        table[gene] = count
    table["density"] = [0.5, 1.5, 2.0, 3.0]
    return table


def write(table: pd.DataFrame, path: Path) -> Path:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        table.to_parquet(path, index=False)
        return path
    separator = {".tsv": "\t", ".txt": ";"}.get(Path(name).suffix, ",")
    decimal = "," if separator == ";" else "."
    text = table.to_csv(index=False, sep=separator, decimal=decimal).encode("utf-8-sig")
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.csv.gz", "a.parquet"])
def test_a_table_opens_with_its_columns_found_by_name(name: str, tmp_path: Path) -> None:
    path = write(frame(), tmp_path / name)
    section = open_section(path, mpp=0.5)
    assert section.name == "a"
    spots = section.need_spots()
    assert list(spots.obs_names) == IDS
    assert list(spots.var_names) == GENES
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
    np.testing.assert_array_equal(spots.obsm["spatial"], XY)
    assert list(spots.obs["kind"]) == ["tumour", "stroma", "tumour", "fat"]
    assert list(spots.obs["cluster"]) == [1, 2, 1, 2]
    assert list(spots.obs["density"]) == [0.5, 1.5, 2.0, 3.0]
    said = (
        "Positions are the columns x and y, in full-resolution pixels; 3 columns of whole numbers "
        "are genes, and no genes are cluster, kind, density."
    )
    assert said in section.doubts


def test_lines_before_the_header_are_none_of_the_table(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "a.txt")
    text = path.read_text("utf-8-sig")
    for before in ("sep=;\n", "\ufeffsep=;\n", "# made by hand\n# twice\n"):
        path.write_text(before + text, "utf-8")
        spots = open_section(path, mpp=0.5).need_spots()
        np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
        np.testing.assert_array_equal(spots.obsm["spatial"], XY)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.csv.gz"])
def test_unicode_text_of_excel_opens(name: str, coding: str, tmp_path: Path) -> None:
    path = write(frame().replace("tumour", "Tumör"), tmp_path / name)
    text = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    mark = "" if coding == "utf-16" else "\ufeff"
    text = (mark + text.decode("utf-8-sig").replace(";", "\t").replace("\n", "\r\n")).encode(coding)
    path.write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)
    spots = open_section(path, mpp=0.5).need_spots()
    assert list(spots.obs_names) == IDS
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
    np.testing.assert_array_equal(spots.obsm["spatial"], XY)
    assert list(spots.obs["kind"]) == ["Tumör", "stroma", "Tumör", "fat"]
    assert list(spots.obs["density"]) == [0.5, 1.5, 2.0, 3.0]
    path.write_bytes(gzip.compress(text[:-1], mtime=0) if name.endswith(".gz") else text[:-1])
    with pytest.raises(InputError, match="this table cannot be read"):
        open_section(path, mpp=0.5)


@pytest.mark.parametrize(
    ("x", "y", "um"),
    [
        ("X", "Y", False),
        ("imagecol", "imagerow", False),
        ("pxl_col_in_fullres", "pxl_row_in_fullres", False),
        ("xcoord", "ycoord", False),
        ("x_centroid", "y_centroid", True),
        ("center_x", "center_y", True),
        ("x_um", "y_um", True),
    ],
)
def test_positions_go_by_many_names(x: str, y: str, um: bool, tmp_path: Path) -> None:
    path = write(frame(x, y), tmp_path / "a.csv")
    section = open_section(path, mpp=0.5)
    np.testing.assert_allclose(section.need_spots().obsm["spatial"], XY / 0.5 if um else XY)
    assert list(section.need_spots().var_names) == GENES


def test_the_image_of_that_name_is_its_slide(tmp_path: Path) -> None:
    path = write(frame(ids=""), tmp_path / "a.csv")
    picture(tmp_path / "a.tif", shape=(120, 200))
    section = open_section(path, mpp=0.5)
    assert section.slide is not None
    assert list(section.need_spots().obs_names) == IDS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"x": "pixel_x", "y": "pixel_y"},
            "pixel_x and pixel_y look like positions, but",
        ),
        ({"x": "horizontal", "y": "vertical"}, "there are barcode, horizontal, cluster, vertical"),
        ({"kind": "ACTB"}, "two columns are called 'ACTB'"),
    ],
)
def test_columns_that_do_not_tell_are_named(
    change: dict[str, str], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    if "kind" in change:
        path = write(frame().rename(columns=change), tmp_path / "a.csv")
    else:
        write(frame().rename(columns=change), path)
    with pytest.raises(InputError, match=said):
        open_section(path, mpp=0.5)


def test_numbers_of_an_array_are_no_positions(tmp_path: Path) -> None:
    table = frame()
    table["x"], table["y"] = [1, 2, 1, 2], [1, 1, 2, 2]
    with pytest.raises(InputError, match="x and y number the array, one or two apart"):
        open_section(write(table, tmp_path / "a.csv"), mpp=0.5)


def test_rows_without_a_position_and_tables_without_genes(tmp_path: Path) -> None:
    table = frame()
    table.loc[1, "x"] = np.nan
    section = open_section(write(table, tmp_path / "a.csv"), mpp=0.5)
    np.testing.assert_array_equal(section.need_spots().X.toarray(), COUNTS[[0, 2, 3]])
    assert "1 row without a position was left out." in section.doubts
    with pytest.raises(InputError, match="no column of it counts a gene"):
        open_section(write(frame()[["barcode", "x", "y", "kind"]], tmp_path / "b.csv"), mpp=0.5)
    with pytest.raises(InputError, match="this table cannot be read"):
        open_section(write(frame()[:0], tmp_path / "c.csv"), mpp=0.5)


def test_a_column_with_what_is_no_count_is_named_as_no_gene(tmp_path: Path) -> None:
    lines = ["barcode,x,y,A,B", *(f"b{n},{n * 60},20,1,2" for n in range(5)), "b5,10,500,1,few"]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    section = open_section(tmp_path / "a.csv", mpp=0.5)
    assert list(section.need_spots().var_names) == ["A"]
    assert any(
        "1 columns of whole numbers are genes, and no genes are B." in d for d in section.doubts
    )
    # In a line with more cells nothing says which is which.
    (tmp_path / "a.csv").write_text("\n".join([*lines, "b6,10,560,1,2,3"]) + "\n")
    with pytest.raises(InputError, match="this table cannot be read") as error:
        open_section(tmp_path / "a.csv", mpp=0.5)
    assert "\n" not in str(error.value)


def test_samples_and_spots_off_the_tissue_are_left_out_as_of_an_anndata(tmp_path: Path) -> None:
    xy = np.column_stack([a.ravel() for a in np.mgrid[:4, :5]]) * 50.0
    one = pd.DataFrame({"sample": "A", "x": xy[:, 0], "y": xy[:, 1], "in_tissue": 1})
    one["ACTB"] = np.arange(20)
    other = one.assign(sample="B", x=xy[:, 0] + 7, ACTB=one["ACTB"] + 100)
    other.loc[:2, "in_tissue"] = 0
    path = tmp_path / "both.csv"
    pd.concat([one, other]).to_csv(path)
    with pytest.raises(InputError, match=r'told apart by obs\["sample"\], .*: A, B;'):
        open_section(path)
    section = open_section(path, sample="B")
    spots = section.need_spots()
    np.testing.assert_array_equal(spots.X.toarray().ravel(), np.arange(103, 120))
    np.testing.assert_array_equal(spots.obsm["spatial"], xy[3:] + [7, 0])
    assert "3 spots off the tissue (in_tissue = 0) were left out." in section.doubts
    logs = one.assign(ACTB=np.log1p(one["ACTB"]))
    logs.to_csv(path)
    with pytest.raises(InputError, match=r"holds whole numbers of 0 and more; give .* raw counts"):
        open_section(path)
