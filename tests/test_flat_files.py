"""CosMx, MERSCOPE, Slide-seq and Curio as flat files, with known counts."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.section import open_section
from napari_stenhance.tasks.info import describe_section

COUNTS = np.array([[1, 0, 2], [0, 5, 0], [3, 3, 3], [0, 0, 700]])
GENES = ["ACTB", "EPCAM", "KRT8"]


def write_lines(path: Path, *rows: object, separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(map(str, row)) for row in rows]  # type: ignore[call-overload]
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


def write_cosmx(folder: Path, sample: str = "S1", *, area: bool = False, gz: str = "") -> None:
    keys = [(1, 1), (1, 2), (2, 1), (2, 7)]
    rows = [(*key, *count, 4) for key, count in zip(keys, COUNTS, strict=True)]
    background = (1, 0, 9, 9, 9, 9)
    head = ("fov", "cell_ID", *GENES, "Negative1")
    write_lines(folder / f"{sample}_exprMat_file.csv{gz}", head, background, *rows)
    more = ("Area", "Area.um2") if area else ("Area",)
    cells = [
        (*key, 100, *((100 * 0.18**2,) if area else ()), 10.5 + n, 200 + 10 * n)
        for n, key in enumerate(keys)
    ]
    head = ("fov", "cell_ID", *more, "CenterX_global_px", "CenterY_global_px")
    write_lines(folder / f"{sample}_metadata_file.csv{gz}", head, *cells[::-1])


@pytest.mark.parametrize("gz", ["", ".gz"])
def test_cosmx_lies_upright_and_its_background_is_no_cell(gz: str, tmp_path: Path) -> None:
    write_cosmx(tmp_path / "run" / "flatFiles", gz=gz)
    section = open_section(tmp_path / "run")
    assert section.name == "S1"
    spots = section.need_spots()
    assert list(spots.obs_names) == ["1_1", "1_2", "2_1", "2_7"]
    assert list(spots.var_names) == GENES
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
    np.testing.assert_array_equal(spots.obsm["not_genes"].toarray(), [[4]] * 4)
    # y of the frame goes up.
    np.testing.assert_array_equal(
        spots.obsm["spatial"], [[10.5, 30], [11.5, 20], [12.5, 10], [13.5, 0]]
    )
    assert section.mpp == 0.120280945
    assert "1 row of counts in no cell (cell_ID 0) was left out." in section.doubts
    assert any("is inferred: that of today's instruments" in doubt for doubt in section.doubts)
    assert get_reader(str(tmp_path / "run")) is not None


def test_cosmx_states_its_pixel_by_two_areas(tmp_path: Path) -> None:
    write_cosmx(tmp_path, area=True)
    section = open_section(tmp_path / "S1_exprMat_file.csv")
    assert section.mpp == pytest.approx(0.18)
    assert section.geometry().spot_diameter_um == pytest.approx(np.sqrt(324 / 100 * 4 / np.pi))


def test_several_runs_of_cosmx_are_told_apart(tmp_path: Path) -> None:
    write_cosmx(tmp_path, "A")
    write_cosmx(tmp_path, "B")
    with pytest.raises(
        InputError, match=r"several samples, told apart by their files.*: A, B; name"
    ):
        open_section(tmp_path)
    assert open_section(tmp_path, sample="B").name == "B"
    (tmp_path / "B_metadata_file.csv").unlink()
    with pytest.raises(InputError, match=r"B_metadata_file\.csv is missing beside the counts"):
        open_section(tmp_path, sample="B")


IDS = ["110883424764611924400221639916314253469", "9007199254740993", "9007199254740992", "4"]


def write_merscope(folder: Path, *, transform: bool = True) -> None:
    rows = [(name, *count, 8) for name, count in zip(IDS, COUNTS, strict=True)]
    write_lines(folder / "cell_by_gene.csv", ("cell", *GENES, "Blank-1"), *rows)
    cells = [(name, 0, 300.5, -20 + 10 * n, -5 + n) for n, name in enumerate(IDS)]
    head = ("", "fov", "volume", "center_x", "center_y")
    write_lines(folder / "cell_metadata.csv", head, *cells[::-1])
    if transform:
        path = folder / "images" / "micron_to_mosaic_pixel_transform.csv"
        write_lines(path, (9.25, 0, 400), (0, 9.25, 300), (0, 0, 1), separator=" ")


def test_merscope_lies_in_pixels_of_its_mosaic(tmp_path: Path) -> None:
    write_merscope(tmp_path / "region_0")
    section = open_section(tmp_path / "region_0")
    spots = section.need_spots()
    # Of 18 digits, floating point keeps 16: the second and the third would be one.
    assert list(spots.obs_names) == IDS
    assert list(spots.var_names) == GENES
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
    um = np.array([[-20, -5], [-10, -4], [0, -3], [10, -2]])
    np.testing.assert_allclose(spots.obsm["spatial"], um * 9.25 + (400, 300))
    assert section.mpp == pytest.approx(1 / 9.25)
    assert list(spots.obs["volume"]) == [300.5] * 4


def write_merscope_outlines(folder: Path) -> None:
    """Write squares of 2 µm, of all but the last cell, on three planes of growing width."""
    um = [(-20 + 10 * n, -5 + n) for n in range(3)]
    shapes = [
        shapely.MultiPolygon([shapely.box(x - r, y - r, x + r, y + r)])
        for r in (0.5, 1, 2)
        for x, y in um[::-1]
    ]
    table = {"EntityID": IDS[2::-1] * 3, "ZIndex": np.repeat([2, 3, 4], 3)}
    frame = pd.DataFrame({**table, "Geometry": list(shapely.to_wkb(shapes))})
    frame.to_parquet(folder / "cell_boundaries.parquet", index=False)


@pytest.mark.parametrize("transform", [True, False])
def test_merscope_has_the_outlines_of_its_middle_plane(transform: bool, tmp_path: Path) -> None:
    write_merscope(tmp_path / "r", transform=transform)
    assert open_section(tmp_path / "r").outlines is None
    write_merscope_outlines(tmp_path / "r")
    section = open_section(tmp_path / "r", mpp=None if transform else 0.25)
    outlines = section.outlines()
    # They are known to be cells, however regularly they lie.
    said = describe_section(section)[2]
    assert said.startswith("Cells: 4 × 3 genes; ")
    assert said.endswith(" of 10.05 µm, the nearest 10.05 µm away in the median")
    assert list(outlines.ids) == IDS
    assert list(outlines.corners) == [5, 5, 5, 0]
    rings = outlines.xy.reshape(3, 5, 2)
    xy = section.need_spots().obsm["spatial"][:3]
    np.testing.assert_allclose(np.abs(rings - xy[:, None]), 9.25 if transform else 4.0, rtol=1e-5)
    # A cell that the middle plane does not cut has the outline of the plane next to it.
    path = tmp_path / "r" / "cell_boundaries.parquet"
    table = pd.read_parquet(path)
    table.drop(index=[3, 6]).to_parquet(path, index=False)
    again = section.outlines()
    assert list(again.corners) == [5, 5, 5, 0]
    np.testing.assert_array_equal(again.xy[:10], outlines.xy[:10])
    np.testing.assert_allclose(again.xy[10:] - xy[2], (outlines.xy[10:] - xy[2]) / 2, rtol=1e-5)
    table[:0].to_parquet(path, index=False)
    assert not section.outlines().corners.any()
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"boundaries\.parquet: the outlines of cells cannot be"):
        section.outlines()


def test_merscope_without_its_transform_lies_in_micrometres(tmp_path: Path) -> None:
    write_merscope(tmp_path / "region_0", transform=False)
    section = open_section(tmp_path / "region_0")
    xy = section.need_spots().obsm["spatial"] * section.mpp
    np.testing.assert_allclose(xy, [[-20, -5], [-10, -4], [0, -3], [10, -2]])
    assert any("micron_to_mosaic_pixel_transform.csv is missing" in d for d in section.doubts)
    write_lines(tmp_path / "region_0/images/micron_to_mosaic_pixel_transform.csv", (1, 2), (3, 4))
    with pytest.raises(InputError, match=r"the transform cannot be read \(it holds 4 numbers"):
        open_section(tmp_path / "region_0")
    (tmp_path / "region_0" / "cell_metadata.csv").unlink()
    with pytest.raises(InputError, match=r"there is no cell_metadata\.csv beside the counts"):
        open_section(tmp_path / "region_0")


BEADS = ["ACGTACGTACGTAC", "CCGTACGTACGTAC", "GCGTACGTACGTAC", "NCGTACGTACGTAC"]
XY = np.array([[100.5, 20], [110.5, 20], [100.5, 30], [110.5, 31]])


def write_slide_seq(folder: Path) -> None:
    head = ("barcodes", "xcoord", "ycoord")
    rows = [(b, *xy) for b, xy in zip(BEADS, XY, strict=True)]
    write_lines(folder / "BeadLocationsForR.csv", head, *rows[::-1])
    counts = [(gene, *row) for gene, row in zip(GENES, COUNTS.T, strict=True)]
    write_lines(folder / "MappedDGEForR.csv", ("Row", *BEADS), *counts)


def _puck(folder: Path) -> None:
    rows = [(n, b, *xy) for n, (b, xy) in enumerate(zip(BEADS, XY, strict=True))]
    write_lines(folder / "Puck_7_bead_locations.csv", *rows)
    counts = [(gene, *row) for gene, row in zip(GENES, COUNTS.T, strict=True)]
    path = folder / "Puck_7.digital_expression.txt.gz"
    numbered = [f"{b}-1" for b in BEADS]
    write_lines(path, ("# a line",), ("GENE", *numbered), *counts, separator="\t")


def write_curio(folder: Path) -> None:
    rows = [(b, *xy) for b, xy in zip(BEADS, XY, strict=True)]
    write_lines(folder / "S1_MatchedBeadLocation.csv", ("", "x", "y"), *rows)
    write_lines(folder / "S1_genes.tsv", *[(gene,) for gene in GENES])
    write_lines(folder / "S1_barcodes.tsv", *[(bead,) for bead in BEADS])
    bead, gene = COUNTS.nonzero()
    entries = [
        (g + 1, b + 1, COUNTS[b, g]) for b, g in zip(bead.tolist(), gene.tolist(), strict=True)
    ]
    head = ("%%MatrixMarket matrix coordinate integer general",), (3, 4, len(entries))
    write_lines(folder / "S1_MoleculesPerMatchedBead.mtx", *head, *entries, separator=" ")


@pytest.mark.parametrize(
    ("write", "name"), [(write_slide_seq, "run"), (_puck, "Puck_7"), (write_curio, "S1")]
)
def test_beads_lie_where_their_table_says(write: object, name: str, tmp_path: Path) -> None:
    write(tmp_path / "run")  # type: ignore[operator]
    section = open_section(tmp_path / "run", mpp=1.0)
    assert section.name == name
    spots = section.need_spots()
    assert [b.removesuffix("-1") for b in spots.obs_names] == BEADS
    assert list(spots.var_names) == GENES
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
    np.testing.assert_array_equal(spots.obsm["spatial"], XY)
    geometry = section.geometry()
    assert (geometry.spot_diameter_um, geometry.spot_shape) == (10.0, "disc")
    section = open_section(tmp_path / "run")
    assert section.mpp is None
    assert any("lie 10 units apart; 1 µm per unit is right" in doubt for doubt in section.doubts)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("BeadLocationsForR.csv", "a,b\n1,2\n", "it has 2 columns, not barcode, x and y"),
        ("BeadLocationsForR.csv", "a,b,c\nA,1,\n", "there are no columns xcoord and ycoord"),
        ("BeadLocationsForR.csv", "b,x,y\nA,1,\n", "the locations of beads cannot be read"),
        ("BeadLocationsForR.csv", "b,x,y\nA,1,2\nA,1,3\n", "barcode A occurs more than once"),
        ("BeadLocationsForR.csv", "b,x,y\nA,1,2\nB,1,3\n", "these files do not belong together"),
        ("MappedDGEForR.csv", "G,A,B\nX,1\n", "the counts cannot be read"),
        ("MappedDGEForR.csv", "G,A,B\nX,1,few\n", "the counts cannot be read"),
        ("MappedDGEForR.csv", "", "there are no counts of these beads; put MappedDGEForR"),
    ],
)
def test_damaged_tables_of_beads_are_one_sentence(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    write_slide_seq(tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_text(text)
    if not text:
        path.unlink()
    with pytest.raises(InputError, match=said) as error:
        open_section(tmp_path / "run", mpp=1.0)
    assert "\n" not in str(error.value)
