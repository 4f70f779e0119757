from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import tifffile

from made_sections import make_slide_pixels, make_spots, write_image
from napari_stenhance.errors import InputError
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.region import Region
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.spots import SpotGeometry
from napari_stenhance.storage.cache import Cache

GENES = ("A", "B", "C")


def write_legacy(folder: Path, *, pitch: float = 50.0, image: bool = True, ids: str = "x") -> Path:
    """Write a legacy ST folder of 5 × 4 spots whose lattice is jittered, as printed ones are."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    x, y = (g.ravel() for g in np.meshgrid(np.arange(2, 7), np.arange(3, 7)))
    new_x, new_y = (v + rng.uniform(-0.1, 0.1, v.shape) for v in (x, y))
    lines = ["x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected"]
    for n in range(len(x)):
        px, py = (new_x[n] - 1) * pitch, (new_y[n] - 1) * pitch
        lines.append(f"{x[n]}\t{y[n]}\t{new_x[n]:.4f}\t{new_y[n]:.4f}\t{px:.3f}\t{py:.3f}\t1")
    (folder / "selection.tsv").write_text("\n".join(lines) + "\n")
    counts = rng.integers(0, 9, (len(x), len(GENES)))
    rows = ["\t" + "\t".join(GENES)]
    rows += [
        f"{a}{ids}{b}\t" + "\t".join(map(str, c)) for a, b, c in zip(x, y, counts, strict=True)
    ]
    with gzip.open(folder / "counts.tsv.gz", "wt") as file:
        file.write("\n".join(rows) + "\n")
    if image:
        pixels, _ = make_slide_pixels((400, 400), 0)
        write_image(folder / "image.jpg", pixels)
    return folder


def edit_counts(folder: Path, change: Callable[[str], str]) -> None:
    text = gzip.decompress((folder / "counts.tsv.gz").read_bytes()).decode()
    (folder / "counts.tsv.gz").write_bytes(gzip.compress(change(text).encode()))


def test_a_legacy_folder_opens_with_its_scale_inferred(tmp_path: Path, cache: Cache) -> None:
    section = open_section(write_legacy(tmp_path / "S1"), cache=cache)
    assert section.name == "S1"
    assert section.mpp == pytest.approx(4.0, rel=1e-4)
    assert section.need_slide().mpp_source.startswith("inferred")
    assert any("inferred" in doubt for doubt in section.doubts)
    spots = section.need_spots()
    assert spots.shape == (20, 3)
    assert spots.uns["stenhance"] == {
        "spot_diameter_um": 100.0,
        "spot_shape": "disc",
        "pitch_um": 200.0,
        "unit": "micrometer",
    }
    np.testing.assert_allclose(section.spots_um(), spots.obsm["spatial"] * section.mpp)


def test_underscored_ids_and_a_given_scale(tmp_path: Path, cache: Cache) -> None:
    section = open_section(write_legacy(tmp_path / "S1", ids="_"), mpp=2.0, cache=cache)
    assert section.need_spots().obs_names[0] == "2_3"
    assert section.need_slide().mpp == 2.0
    assert section.need_slide().mpp_source == "given"
    # The array's own pitch gives the scale away.
    (doubt,) = section.doubts
    assert doubt.startswith("The spots' pitch should be 200 µm, but the nearest of them lie 93.91")


def test_scales_that_disagree_are_said(tmp_path: Path, cache: Cache) -> None:
    folder = write_legacy(tmp_path / "S1", image=False)
    pixels, _ = make_slide_pixels((400, 400), 0)
    tifffile.imwrite(
        folder / "he.tif",
        pixels,
        photometric="rgb",
        resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
    )
    section = open_section(folder, cache=cache)
    assert section.mpp == pytest.approx(4.0, rel=1e-4)
    assert any("states 0.5 µm per pixel (resolution tags); 4" in doubt for doubt in section.doubts)


def test_only_the_image_is_read_when_spots_are_not_wanted(tmp_path: Path, cache: Cache) -> None:
    folder = write_legacy(tmp_path / "S1")
    edit_counts(folder, lambda text: text.replace("\t0", "\tbroken"))
    section = open_section(folder, spots=False, cache=cache)
    assert section.spots is None
    assert section.mpp == pytest.approx(4.0, rel=1e-4)


def test_an_id_that_numbers_no_array_has_no_position(tmp_path: Path) -> None:
    folder = write_legacy(tmp_path / "S1", image=False)
    edit_counts(folder, lambda text: text.replace("\n4x4\t", f"\n{'9' * 400}x3\t"))
    section = open_section(folder)
    assert section.need_spots().n_obs == 19
    assert "1 of 20 spots has no position and was left out." in section.doubts


def test_an_image_of_another_scale_is_left_out_and_said(tmp_path: Path, cache: Cache) -> None:
    folder = write_legacy(tmp_path / "S1", pitch=900.0)
    section = open_section(folder, cache=cache)
    assert section.slide is None
    assert any("image.jpg was left out" in doubt for doubt in section.doubts)
    with pytest.raises(InputError, match="left out"):
        section.need_slide()


def test_h5ad_takes_the_one_image_that_shares_its_stem(tmp_path: Path, cache: Cache) -> None:
    pixels, amounts = make_slide_pixels((900, 800), 3)
    make_spots(amounts, 3).write_h5ad(tmp_path / "s.h5ad")
    write_image(tmp_path / "s_he.png", pixels)
    write_image(tmp_path / "sother.png", pixels)
    section = open_section(tmp_path / "s.h5ad", cache=cache)
    assert section.need_slide().path.name == "s_he.png"
    assert section.mpp == 0.8
    assert open_section(tmp_path, cache=cache).name == "s"
    write_image(tmp_path / "s.png", pixels)
    with pytest.raises(InputError, match=r"s\.png, s_he\.png"):
        open_section(tmp_path / "s.h5ad", cache=cache)


def test_a_folder_with_several_sections_names_them(data: Path) -> None:
    with pytest.raises(InputError, match=r"rep11\.h5ad, scrna_4558x2000\.h5ad"):
        open_section(data / "mob")


def test_visium_lattice_gives_the_scale() -> None:
    row, column = (g.ravel() for g in np.meshgrid(np.arange(12), np.arange(20), indexing="ij"))
    even = (row + column) % 2 == 0
    row, column = row[even], column[even]
    pitch = 137.0
    turn = np.deg2rad(3)
    xy = np.column_stack([column / 2, row * np.sqrt(3) / 2]) * pitch
    xy = xy @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) + 500
    spots = ad.AnnData(X=sp.csr_matrix(np.ones((len(xy), 2), np.float32)), obsm={"spatial": xy})
    spots.obs["array_row"], spots.obs["array_col"] = row, column
    section = Section(spots=spots, name="visium")
    assert section.mpp == pytest.approx(100 / 137, rel=1e-3)
    assert section.geometry().spot_diameter_um == 55
    assert "Visium" in section.doubts[0]


def test_without_a_scale_lengths_are_in_pixels() -> None:
    xy = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10], [20, 10]])
    spots = ad.AnnData(X=np.ones((5, 3), np.float32), obsm={"spatial": xy})
    section = Section(spots=spots)
    assert section.mpp is None
    assert section.geometry() == SpotGeometry(5.0, "disc", 10.0, "pixel")


def _spots(**changes: object) -> ad.AnnData:
    counts = np.ones((6, 3), np.float32)
    xy = np.array([[0.0, 0], [9, 0], [0, 9], [9, 9], [18, 0], [18, 9]])
    spots = ad.AnnData(X=counts, obsm={"spatial": xy}, uns={"microns_per_pixel": 1.0})
    spots.var_names = list(GENES)
    for name, value in changes.items():
        setattr(spots, name, value)
    return spots


def _with_count(value: float, *, sparse: bool) -> ad.AnnData:
    counts = np.ones((6, 3), np.float32)
    counts[4, 1] = value
    return _spots(X=sp.csr_matrix(counts) if sparse else counts)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_counts_that_cannot_be_counts_are_refused(value: float, sparse: bool) -> None:
    with pytest.raises(InputError, match=r"gene B in spot 4 is (-1|nan|inf)"):
        Section(spots=_with_count(value, sparse=sparse))


def test_duplicated_ids_are_refused() -> None:
    spots = _spots()
    spots.obs_names = ["a", "b", "a", "c", "d", "e"]
    with pytest.raises(InputError, match="spot id 'a' occurs more than once"):
        Section(spots=spots)
    spots = _spots(var_names=["A", "A", "B"])
    with pytest.raises(InputError, match="gene id 'A'"):
        Section(spots=spots)


def test_positions_must_be_there_and_finite() -> None:
    spots = _spots()
    del spots.obsm["spatial"]
    with pytest.raises(InputError, match="spatial"):
        Section(spots=spots)
    spots = _spots()
    spots.obsm["spatial"][2, 1] = np.nan
    with pytest.raises(InputError, match="spot 2"):
        Section(spots=spots)
    spots.obsm["spatial"][2] = [-1e300, 5]
    with pytest.raises(InputError, match=r"spot 2 lies at \(-1e\+300, 5\), and no image reaches"):
        Section(spots=spots)


def test_spots_outside_the_slide_are_refused(make_slide: Callable[..., Slide]) -> None:
    slide = make_slide(np.full((10, 10, 3), 240, np.uint8))
    with pytest.raises(InputError, match="33% of the spots lie outside the slide"):
        Section(slide=slide, spots=_spots(), name="small")


@pytest.mark.parametrize("named", [True, False])
def test_a_legacy_table_may_lie_on_its_side(named: bool, tmp_path: Path, cache: Cache) -> None:
    upright = open_section(write_legacy(tmp_path / "S1", image=False), cache=cache).need_spots()

    def turn(text: str) -> str:
        cells = zip(*(line.split("\t") for line in text.splitlines()), strict=True)
        header, *lines = ("\t".join(row) for row in cells)
        # R leaves the name of the first column out.
        return "\n".join([header if named else header.lstrip("\t"), *lines]) + "\n"

    edit_counts(tmp_path / "S1", turn)
    spots = open_section(tmp_path / "S1", cache=cache).need_spots()
    assert list(spots.obs_names) == list(upright.obs_names)
    assert list(spots.var_names) == list(upright.var_names) == list(GENES)
    np.testing.assert_array_equal(spots.X.toarray(), upright.X.toarray())
    np.testing.assert_array_equal(spots.obsm["spatial"], upright.obsm["spatial"])


@pytest.mark.parametrize(
    ("files", "given", "said"),
    [
        (("A_xenium.tar.gz", "B_xenium.tar.gz"), "", "unpack A_xenium.tar.gz and 1 more there"),
        (
            ("A.tar.gz",),
            "A.tar.gz",
            r"this is an archive; unpack it \(tar -xf A.tar.gz\), and give",
        ),
        (("brain.rds",), "brain.rds", "this is an object of R"),
        (("he.vms",), "", "by he.vms, this is a slide in another format.*; export it from the"),
        (
            ("filtered_feature_bc_matrix.h5",),
            "filtered_feature_bc_matrix.h5",
            "counts without the positions of its spots.*tissue_positions, beside it",
        ),
    ],
)
def test_what_is_not_read_is_called_by_its_name_with_the_way_that_works(
    files: tuple[str, ...], given: str, said: str, tmp_path: Path
) -> None:
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")
    with pytest.raises(InputError, match=said) as raised:
        open_section(tmp_path / given)
    assert str(raised.value).startswith(f"{tmp_path / given}: ")


def test_bad_folders_and_files_say_what_is_wrong(tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        open_section(tmp_path / "nothing")
    with pytest.raises(InputError, match="no section that can be read"):
        open_section(tmp_path)
    apart = write_legacy(tmp_path / "apart")
    edit_counts(apart, lambda text: text.replace("x", "x9"))
    with pytest.raises(InputError, match="do not belong together"):
        open_section(apart, cache=cache)
    torn = write_legacy(tmp_path / "torn")
    torn.joinpath("counts.tsv.gz").write_bytes(torn.joinpath("counts.tsv.gz").read_bytes()[:80])
    with pytest.raises(InputError, match=r"counts\.tsv\.gz: the counts cannot be read"):
        open_section(torn, cache=cache)
    negative = write_legacy(tmp_path / "negative")
    edit_counts(negative, lambda text: text.replace("\t0", "\t-3", 1))
    with pytest.raises(
        InputError, match=r"counts.tsv.gz: the count of gene [ABC] in spot \d+x\d+ is -3"
    ):
        open_section(negative, cache=cache)
    two = write_legacy(tmp_path / "two")
    (two / "other.png").write_bytes(b"")
    with pytest.raises(InputError, match="several files could be the image"):
        open_section(two, cache=cache)
    (tmp_path / "text.h5ad").write_text("no HDF5")
    with pytest.raises(InputError, match="no HDF5 file"):
        open_section(tmp_path / "text.h5ad")


@pytest.mark.parametrize(
    ("name", "spots", "mpp"), [("C2", 187, 0.688), ("C3", 180, 0.688), ("C4", 184, 0.688)]
)
def test_real_legacy_sections(data: Path, name: str, spots: int, mpp: float) -> None:
    section = open_section(data / "her2st" / name)
    assert section.need_spots().n_obs == spots
    assert section.mpp == pytest.approx(mpp, abs=0.001)
    pixel_um = np.ptp(section.need_slide().extent_um()[::2]) / section.need_slide().shape[1]
    assert pixel_um == pytest.approx(mpp, abs=0.001)


def test_real_olfactory_bulb(data: Path) -> None:
    section = open_section(data / "mob" / "rep11.h5ad")
    assert section.need_slide().path.name == "rep11_he.jpg"
    assert section.need_slide().shape == (2478, 2319)
    assert section.mpp == pytest.approx(2.76, abs=0.01)
    assert section.geometry().pitch_um == 200


def test_real_sections_without_a_usable_image(data: Path) -> None:
    thumbnail = open_section(data / "her2st" / "A1")
    assert thumbnail.slide is None
    assert any("left out" in doubt for doubt in thumbnail.doubts)
    assert open_section(data / "her2st" / "B1").need_spots().n_obs == 295
    visium = open_section(data / "dlpfc" / "dlpfc_151673_5000genes.h5ad")
    assert visium.mpp == pytest.approx(0.73, abs=0.001)
    assert visium.geometry().pitch_um == 100


def test_footprints_are_discs_and_squares() -> None:
    grid = Grid(8.0, (40, 40), 1.0)
    everywhere = np.ones(grid.shape, bool)
    centre = grid.centres_um(np.array([20]), np.array([20]))
    # Sizes of discs of radius r superpixels, centred on one: published table.
    for radius, size in ((0.125, 1), (0.5, 1), (1.0, 5), (1.5, 9), (2.0, 13), (6.25, 121)):
        geometry = SpotGeometry(2 * radius * 8, "disc", 200, "micrometer")
        assert Footprints.under(grid, centre, geometry, everywhere).counts().tolist() == [size]
    square = SpotGeometry(16.0, "square", 16, "micrometer")
    corner = centre + 4.0
    assert Footprints.under(grid, corner, square, everywhere).counts().tolist() == [4]


def test_footprints_stop_at_tissue_and_edges() -> None:
    grid = Grid(8.0, (30, 30), 1.0)
    tissue = np.zeros(grid.shape, bool)
    tissue[:, :15] = True
    xy = grid.centres_um(np.array([0, 15, 15]), np.array([0, 15, 29]))
    geometry = SpotGeometry(32.0, "disc", 100, "micrometer")
    under = Footprints.under(grid, xy, geometry, tissue)
    assert under.counts().tolist() == [6, 4, 0]
    values = np.arange(10.0)[:, None]
    np.testing.assert_allclose(under.mean(values)[:2, 0], [2.5, 7.5])
    filled = under.with_nearest(grid, xy, tissue)
    assert filled.counts().tolist() == [6, 4, 1]
    assert (filled.row[-1], filled.column[-1]) == (15, 14)


def test_a_region_marks_the_superpixels_inside(tmp_path: Path) -> None:
    grid = Grid(8.0, (20, 20), 1.0)
    ring = [[40, 40], [100, 40], [100, 80], [40, 80], [40, 40]]
    hole = [[60, 50], [80, 50], [80, 70], [60, 70], [60, 50]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring, hole]}}
    path = tmp_path / "r.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    mask = Region.read(path).mask(grid)
    centres = grid.centres_um(np.arange(20)[:, None], np.arange(20)[None])
    x, y = centres[..., 0], centres[..., 1]
    outer = (x > 40) & (x < 100) & (y > 40) & (y < 80)
    inner = (x > 60) & (x < 80) & (y > 50) & (y < 70)
    np.testing.assert_array_equal(mask, outer & ~inner)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "this GeoJSON cannot be read"),
        ('{"type": "FeatureCollection", "features": []}', "no polygon"),
        ('{"type": "Point", "coordinates": [1, 2]}', "no polygon"),
        ('{"features": [{"geometry": {"type": "Polygon"}}]}', "this GeoJSON cannot be read"),
    ],
)
def test_bad_regions_say_so(tmp_path: Path, content: str, match: str) -> None:
    path = tmp_path / "r.geojson"
    path.write_text(content)
    with pytest.raises(InputError, match=match):
        Region.read(path)
    with pytest.raises(InputError, match="no such region"):
        Region.read(tmp_path / "none.geojson")


def test_a_picture_that_was_turned_since_is_said_to_be(
    long: Path, tmp_path: Path, cache: Cache
) -> None:
    (tmp_path / "long.h5ad").write_bytes(long.read_bytes())
    write_image(tmp_path / "long_he.png", np.full((320, 4000, 3), 255, np.uint8))
    section = open_section(tmp_path / "long.h5ad", cache=cache)
    assert section.slide is None
    assert any(
        "though not if it were turned by 90°, or x and y exchanged;" in d for d in section.doubts
    )
