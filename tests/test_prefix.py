from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from made_sections import make_slide_pixels, write_image, write_section
from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.running.job import Job
from napari_stenhance.section.formats.prefix.names import prefixes
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.spots import SpotGeometry
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.convert import ConvertOptions, convert
from reader_glance import glance
from test_cli import run

GENES = ("A", "B", "C")
COUNTS = np.arange(16 * 3).reshape(16, 3) % 7
IDS = tuple(f"s{n}" for n in range(16))
FORMATS = "napari_stenhance.section.formats"
TABLES = ("cnts.tsv", "locs-raw.tsv")


def positions(pitch: float = 50.0) -> np.ndarray:
    """Four rows of four spots, from (40, 30) on."""
    x, y = np.meshgrid(np.arange(4), np.arange(4))
    return np.column_stack([40 + pitch * x.ravel(), 30 + pitch * y.ravel()])


def table(columns: tuple[str, ...], values: np.ndarray, ids: tuple[str, ...] = IDS) -> str:
    lines = ["\t".join(("", *columns))]
    lines += ["\t".join((i, *(f"{v:g}" for v in row))) for i, row in zip(ids, values, strict=True)]
    return "\n".join(lines) + "\n"


def write_files(
    folder: Path, prefix: str = "", *, image: str = "he-raw.jpg", pitch: float = 50.0, **files: str
) -> Path:
    """Write prefix files of 16 spots on a slide of 260 × 250 px; an empty text leaves a file out.

    Names of files are given with `_` for what Python does not allow in a name.
    """
    folder.mkdir(exist_ok=True)
    texts = {
        "cnts.tsv": table(GENES, COUNTS),
        "locs-raw.tsv": table(("x", "y"), positions(pitch)),
        "radius-raw.txt": "12.5\n",
        "pixel-size-raw.txt": "2.0\n",
    }
    known = {name.replace("-", "_").replace(".", "_"): name for name in texts}
    texts |= {known[name]: text for name, text in files.items()}
    for name, text in texts.items():
        if text:
            (folder / f"{prefix}{name}").write_text(text)
    if image:
        write_image(folder / f"{prefix}{image}", make_slide_pixels((250, 260), 0)[0])
    return folder


def test_a_folder_of_prefix_files_opens(tmp_path: Path, cache: Cache) -> None:
    section = open_section(write_files(tmp_path / "S1"), cache=cache)
    spots = section.need_spots()
    assert section.name == "S1"
    assert section.need_slide().path.name == "he-raw.jpg"
    assert section.need_slide().shape == (250, 260)
    assert section.mpp == 2.0
    assert section.need_slide().mpp_source == "stated in pixel-size-raw.txt"
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
    np.testing.assert_array_equal(spots.obsm["spatial"], positions())
    assert tuple(spots.obs_names) == IDS
    assert tuple(spots.var_names) == GENES
    assert spots.uns["stenhance"] == {
        "spot_diameter_um": 50.0,
        "spot_shape": "disc",
        "pitch_um": 100.0,
        "unit": "micrometer",
    }
    assert len(section.doubts) == 1
    assert section.doubts[0].startswith("radius-raw.txt says 12.5")
    slide_only = open_section(tmp_path / "S1", spots=False, cache=cache)
    assert slide_only.spots is None
    assert slide_only.mpp == 2.0


@pytest.mark.parametrize(
    ("radius", "mpp", "pitch", "diameter", "shape", "why"),
    [
        # 2 · 12.5 px · 2 µm/px = 50 µm or 12.5 µm, spots 100 µm apart.
        ("12.5", "2", 50, 50.0, "disc", "the first is taken, as both fit spots 100 µm apart"),
        # 220 µm or 55 µm.
        ("55", "2", 50, 55.0, "disc", "the second is taken, as spots lie 100 µm apart"),
        # 20 µm or 40 µm, spots 25 µm apart.
        ("40", "0.25", 100, 20.0, "disc", "the first is taken, as spots lie 25 µm apart"),
        # Bins of Visium HD: 8 µm or 14.6 µm, 8 µm apart.
        ("14.6", "0.274", 29.2, 8.0008, "square", "the first is taken, as spots lie 8.001 µm"),
        # Positions rounded to pixels seem 4 % closer than they are.
        ("3.65", "0.274", 7, 2.0002, "square", "the first is taken, as spots lie 1.918 µm"),
        ("400", "2", 50, 1600.0, "disc", "the first is taken, as neither fits"),
        ("0", "2", 50, 100.0, "square", "squares of the pitch, 100 µm, are taken"),
    ],
)
def test_the_radius_is_read_as_what_fits_the_lattice(
    radius: str, mpp: str, pitch: float, diameter: float, shape: str, why: str, tmp_path: Path,
    cache: Cache,
) -> None:  # fmt: skip
    files = write_files(
        tmp_path / "S1", image="", pitch=pitch, radius_raw_txt=radius, pixel_size_raw_txt=mpp
    )
    section = open_section(files, cache=cache)
    geometry = section.geometry()
    assert geometry.spot_diameter_um == pytest.approx(diameter)
    assert geometry.spot_shape == shape
    assert geometry.pitch_um == pytest.approx(pitch * float(mpp))
    (doubt,) = (d for d in section.doubts if d.startswith("radius-raw.txt"))
    assert why in doubt
    assert "a radius in raw pixels" in doubt
    if radius != "0":
        number = float(radius)
        assert f"a diameter of {2 * number * float(mpp):.4g} µm, as the published program" in doubt
        assert f"a diameter of {number:g} µm, as its description" in doubt


def test_the_radius_is_read_at_the_scale_that_is_used(tmp_path: Path, cache: Cache) -> None:
    files = write_files(tmp_path / "S1", pixel_size_raw_txt="")
    unscaled = open_section(files, cache=cache)
    assert unscaled.mpp is None
    assert unscaled.geometry() == SpotGeometry(25.0, "disc", 50.0, "pixel")
    assert any("without a scale" in doubt for doubt in unscaled.doubts)
    given = open_section(files, mpp=4.0, cache=cache)
    assert given.geometry().spot_diameter_um == 100.0
    assert given.geometry().pitch_um == 200.0


def test_without_a_radius_the_pitch_decides(tmp_path: Path, cache: Cache) -> None:
    section = open_section(write_files(tmp_path / "S1", radius_raw_txt=""), cache=cache)
    assert section.geometry().spot_diameter_um == 50.0
    assert section.doubts == (
        "The spots' diameter is not stated: half of their pitch, 50 µm, is taken.",
    )


@pytest.mark.parametrize("mpp", ["2e-7", "0", "500", "-1"])
def test_an_absurd_scale_is_said_and_can_be_given(mpp: str, tmp_path: Path, cache: Cache) -> None:
    files = write_files(tmp_path / "S1", pixel_size_raw_txt=mpp)
    section = open_section(files, cache=cache)
    assert section.mpp is None
    assert any("which cannot be right for a slide (0.05 to 20)" in d for d in section.doubts)
    assert open_section(files, mpp=2.0, cache=cache).mpp == 2.0


def test_rows_are_matched_by_id_where_their_order_differs(tmp_path: Path, cache: Cache) -> None:
    shuffled = np.random.default_rng(0).permutation(16)[:14]
    locations = table(("x", "y"), positions()[shuffled], tuple(IDS[n] for n in shuffled))
    section = open_section(write_files(tmp_path / "S1", locs_raw_tsv=locations), cache=cache)
    spots = section.need_spots()
    kept = np.sort(shuffled)
    assert list(spots.obs_names) == [IDS[n] for n in kept]
    np.testing.assert_array_equal(spots.obsm["spatial"], positions()[kept])
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS[kept])
    assert any("matched by id; 2 of 16 rows have none." in doubt for doubt in section.doubts)


@pytest.mark.parametrize("first", ["1", "a"])
def test_rows_are_matched_by_order_where_ids_cannot_tell(
    first: str, tmp_path: Path, cache: Cache
) -> None:
    # Row numbers from 0 in one table and from 1 in the other share 15 of 16 ids, all wrong.
    ids = [str(n + 1) if first == "1" else f"{first}{n}" for n in range(16)]
    section = open_section(
        write_files(
            tmp_path / "S1",
            cnts_tsv=table(GENES, COUNTS, tuple(map(str, range(16)))),
            locs_raw_tsv=table(("x", "y"), positions(), tuple(ids)),
        ),
        cache=cache,
    )
    np.testing.assert_array_equal(section.need_spots().obsm["spatial"], positions())
    np.testing.assert_array_equal(section.need_spots().X.toarray(), COUNTS)
    assert any("matched by their order alone" in doubt for doubt in section.doubts)


def test_locations_without_ids_and_a_header_without_a_name_for_them(
    tmp_path: Path, cache: Cache
) -> None:
    rows = ["\t".join(f"{v:g}" for v in row) for row in positions()]
    bare = write_files(tmp_path / "S1", locs_raw_tsv="\n".join(["x\ty", *rows]))
    section = open_section(bare, cache=cache)
    np.testing.assert_array_equal(section.need_spots().obsm["spatial"], positions())
    assert any("matched by their order alone" in doubt for doubt in section.doubts)
    # As R's write.table writes it.
    counts = table(tuple(f'"{g}"' for g in GENES), COUNTS, tuple(f'"{i}"' for i in IDS))[1:]
    rows = [f'"{i}"\t{row}' for i, row in zip(IDS, rows, strict=True)]
    from_r = write_files(
        tmp_path / "S2", cnts_tsv=counts, locs_raw_tsv="\n".join(['"x"\t"y"', *rows])
    )
    section = open_section(from_r, cache=cache)
    assert tuple(section.need_spots().obs_names) == IDS
    assert tuple(section.need_spots().var_names) == GENES
    np.testing.assert_array_equal(section.need_spots().obsm["spatial"], positions())
    assert len(section.doubts) == 1


def test_one_of_several_prefixes_is_named(tmp_path: Path, cache: Cache) -> None:
    write_files(tmp_path, "one-")
    write_files(tmp_path, "two-", pixel_size_raw_txt="1.0")
    with pytest.raises(InputError, match=r"prefixes 'one-', 'two-'; name .*two-\.$"):
        open_section(tmp_path, cache=cache)
    section = open_section(tmp_path / "two-", cache=cache)
    assert section.name == "two"
    assert section.mpp == 1.0
    assert "Section two" in run("info", tmp_path / "two-").output
    with pytest.raises(InputError, match="no such file or folder"):
        open_section(tmp_path / "three-", cache=cache)


def test_names_alone_make_a_prefix() -> None:
    assert prefixes({"cnts.tsv", "locs-raw.tsv"}) == [""]
    assert prefixes({"b-cnts.tsv.gz", "b-he-raw.tif", "a_cnts.parquet", "a_locs-raw.tsv"}) == [
        "a_", "b-",
    ]  # fmt: skip
    assert prefixes({"cnts.tsv", "other-he-raw.jpg", "._cnts.tsv", "._locs-raw.tsv"}) == []


def test_of_several_files_the_published_order_decides(tmp_path: Path, cache: Cache) -> None:
    folder = write_files(tmp_path / "S1", image="he-raw.tif")
    write_image(folder / "he-raw.png", make_slide_pixels((250, 260), 1)[0])
    (folder / "cnts.tsv.gz").write_bytes(gzip.compress(b"not read"))
    (folder / "mask-raw.png").write_bytes(b"not read")
    section = open_section(folder, cache=cache)
    assert section.need_slide().path.name == "he-raw.png"
    assert "he-raw.png is read, and he-raw.tif is not." in section.doubts
    assert "cnts.tsv is read, and cnts.tsv.gz is not." in section.doubts
    assert any(doubt.startswith("mask-raw.png is not used") for doubt in section.doubts)
    (folder / "cnts.tsv.gz").write_bytes(gzip.compress((folder / "cnts.tsv").read_bytes()))
    (folder / "cnts.tsv").unlink()
    np.testing.assert_array_equal(
        open_section(folder, cache=cache).need_spots().X.toarray(), COUNTS
    )


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"locs_raw_tsv": ""}, r"S1: locs-raw\.tsv is missing beside the counts"),
        ({"locs_raw_tsv": "id\tpx\tpy\na\t1\t2\n"}, r"locs-raw\.tsv: the columns x and y are"),
        ({"locs_raw_tsv": "id\tx\ty\na\t1\tleft\n"}, r"locs-raw\.tsv: the positions cannot be"),
        ({"locs_raw_tsv": "id\tx\ty\na\t1\tnan\n"}, r"locs-raw\.tsv: (x or y of row 1|the pos)"),
        ({"locs_raw_tsv": "id\tx\ty\na\t1\t\n"}, r"locs-raw\.tsv: (x or y of row 1|the pos)"),
        ({"locs_raw_tsv": "\n"}, r"locs-raw\.tsv: "),
        ({"locs_raw_tsv": "id\tx\ty\n"}, r"locs-raw\.tsv: there are no positions"),
        ({"locs_raw_tsv": "id\tx\ty\n" + "s1\t50\t50\n" * 2}, r"the id 's1' occurs more than once"),
        ({"locs_raw_tsv": "id\tx\ty\n" + "q\t50\t50\n" * 1}, r"16 rows of counts, but 1 position"),
        ({"cnts_tsv": "\n"}, r"cnts\.tsv: .*no line below the header"),
        ({"cnts_tsv": "\tA\tB\n"}, r"cnts\.tsv: .*no line below the header"),
        ({"cnts_tsv": "\tA\ns1\t3\t4\n"}, "the header names 1 gene, but lines hold 2 counts"),
        ({"cnts_tsv": "\tA\tB\ns1\t3\tmany\n"}, r"cnts\.tsv: .*'many'.*row 0 is spot s1"),
        ({"cnts_tsv": "\tA\tB\ns1\n"}, r"cnts\.tsv: .*'nothing'"),
        ({"cnts_tsv": "\tA\tB\ns1\t3\t4\ns2\t3\n"}, "spot s2 has 1 counts, but s1 has 2"),
        ({"cnts_tsv": "\tA\tB\ns1\t3\t-4\n"}, "gene B in spot s1 is -4; counts must be finite"),
        ({"radius_raw_txt": "-3"}, r"radius-raw\.txt: the radius is -3; it must not be negative"),
        ({"radius_raw_txt": "8,5"}, r"radius-raw\.txt: .*write one number there"),
        ({"pixel_size_raw_txt": "inf"}, r"pixel-size-raw\.txt: .* one finite number"),
    ],
)
def test_bad_files_are_one_sentence(
    files: dict[str, str], match: str, tmp_path: Path, cache: Cache
) -> None:
    with pytest.raises(InputError, match=match) as error:
        open_section(write_files(tmp_path / "S1", **files), cache=cache)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("index", ["named", "__index_level_0__", "spot", "none"])
def test_parquet_tables_with_their_index_wherever_it_is(
    index: str, tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    # Three blocks of rows.
    monkeypatch.setattr(f"{FORMATS}.prefix.tables._CELLS_AT_ONCE", 20)
    folder = write_files(tmp_path / "S1", cnts_tsv="", locs_raw_tsv="")
    shuffled = np.arange(16) if index == "none" else np.arange(16)[::-1]
    counts = pd.DataFrame(COUNTS, columns=GENES, index=pd.Index(IDS))
    locations = pd.DataFrame(positions(), columns=["x", "y"], index=pd.Index(IDS)).iloc[shuffled]
    for name, frame in (("cnts", counts), ("locs-raw", locations)):
        if index in ("__index_level_0__", "spot"):
            frame = frame.rename_axis(index).reset_index()
        elif index == "none":
            frame = frame.reset_index(drop=True)
        frame.to_parquet(folder / f"{name}.parquet")
    section = open_section(folder, cache=cache)
    spots = section.need_spots()
    expected = [str(n) for n in range(16)] if index == "none" else list(IDS)
    assert list(spots.obs_names) == expected
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
    np.testing.assert_array_equal(spots.obsm["spatial"], positions())
    matched = "order alone" if index == "none" else "matched by id"
    assert any(matched in doubt for doubt in section.doubts)
    counts.assign(C="many").to_parquet(folder / "cnts.parquet")
    with pytest.raises(InputError, match=r"cnts\.parquet: .*'many'"):
        open_section(folder, cache=cache)
    (folder / "locs-raw.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match=r"locs-raw\.parquet: the positions cannot be read"):
        open_section(folder, cache=cache)


def same(one: Section, other: Section) -> None:
    """Assert what a conversion must keep."""
    before, after = one.need_spots(), other.need_spots()
    assert list(after.obs_names) == list(before.obs_names)
    assert list(after.var_names) == list(before.var_names)
    assert abs(sp.csr_matrix(after.X) - sp.csr_matrix(before.X)).max() == 0
    np.testing.assert_array_equal(after.obsm["spatial"], before.obsm["spatial"])
    assert other.mpp == one.mpp
    was, became = one.geometry(), other.geometry()
    assert became.spot_diameter_um == pytest.approx(was.spot_diameter_um, rel=1e-12)
    assert became.spot_shape == was.spot_shape
    assert other.need_slide().sha256 == one.need_slide().sha256


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `.h5ad` with its slide of 0.64 × 0.72 mm."""
    return write_section(tmp_path_factory.mktemp("small"), "one", (900, 800))


def test_a_converted_section_opens_as_the_same(
    small: Path, tmp_path: Path, session_cache: Cache
) -> None:
    out = tmp_path / "made" / "one"
    assert run("convert", small, "--out", out).stdout.strip() == str(out)
    names = ("cnts.tsv", "he-raw.jpg", "locs-raw.tsv", "pixel-size-raw.txt", "pixel-size.txt",
             "radius-raw.txt")  # fmt: skip
    assert tuple(sorted(f.name for f in out.iterdir())) == names
    # A disc of 80 µm at 0.8 µm per pixel.
    assert float((out / "radius-raw.txt").read_text()) == pytest.approx(34.375)
    assert (out / "pixel-size-raw.txt").read_text() == "0.8\n"
    assert (out / "pixel-size.txt").read_text() == "0.5\n"
    assert (out / "locs-raw.tsv").read_text().splitlines()[0] == "spot\tx\ty"
    # Linked, not copied: nothing else made the second name.
    assert (out / "he-raw.jpg").samefile(small.with_name("one_he.jpg"))
    same(open_section(small, cache=session_cache), open_section(out, cache=session_cache))
    before = (out / "cnts.tsv").read_bytes()
    assert "nothing was touched" in run("convert", small, "--out", out, code=2).stderr
    assert (out / "cnts.tsv").read_bytes() == before
    assert [f.name for f in out.parent.iterdir()] == ["one"]


def test_bins_and_fractions_survive_in_blocks(
    make_slide: Callable[..., Slide], tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_stenhance.section.prefix_write._CELLS_AT_ONCE", 10)
    slide = make_slide(make_slide_pixels((80, 80), 0)[0], mpp=0.5, name="slide.ome.tif")
    counts = np.random.default_rng(0).poisson(0.5, (16, 3)).astype(np.float32) / 10
    spots = ad.AnnData(X=counts, obsm={"spatial": positions(16) - 30 + 1 / 3})
    section = Section(slide=slide, spots=spots)
    assert section.geometry().spot_shape == "square"
    out = convert(ConvertOptions(section, str(tmp_path / "bins")), cache=cache)
    assert (out / "he-raw.ome.tif").is_file()
    opened = open_section(out, cache=cache)
    same(section, opened)
    assert opened.geometry().pitch_um == pytest.approx(8)


def test_a_conversion_is_whole_or_nothing(
    small: Path, tmp_path: Path, session_cache: Cache
) -> None:
    before = open_section(small, cache=session_cache)
    job = Job()
    job.cancel()
    made = tmp_path / "made"
    made.mkdir()
    with pytest.raises(Cancelled):
        convert(ConvertOptions(before, made / "one"), job)
    unread = Slide(**{**vars(before.need_slide()), "path": tmp_path / "slide.svs"})
    section = Section(slide=unread, spots=before.spots)
    with pytest.raises(InputError, match=r"slide\.svs: .* export the slide as one of these"):
        convert(ConvertOptions(section, made / "one"))
    spots = before.need_spots().copy()
    spots.var_names = ["tab\there", *spots.var_names[1:]]
    section = Section(slide=before.slide, spots=spots)
    with pytest.raises(InputError, match="cannot be written here"):
        convert(ConvertOptions(section, made / "one"))
    assert list(made.iterdir()) == []


@pytest.mark.parametrize("rows", [16, 300_000])
def test_napari_is_told_at_once_that_a_folder_is_ours(rows: int, tmp_path: Path) -> None:
    for name in TABLES:
        (tmp_path / name).write_text("id\tx\ty\n" + "a\t1\t2\n" * rows)
    found = glance(tmp_path)
    assert found.ours
    assert found.heavy == ()
    # However long the tables are, their first lines tell.
    assert found.looked < 60


def test_a_real_section_converts_and_opens_as_the_same(
    data: Path, tmp_path: Path, session_cache: Cache
) -> None:
    before = open_section(data / "her2st" / "C3", cache=session_cache)
    out = convert(ConvertOptions(before, tmp_path / "C3"), cache=session_cache)
    after = open_section(out, cache=session_cache)
    same(before, after)
    assert after.need_spots().n_obs == 180
    assert after.geometry().spot_diameter_um == pytest.approx(100)


def test_bins_listed_twice_do_not_hide_the_pitch(tmp_path: Path, cache: Cache) -> None:
    ids = (*IDS, *(f"{i}b" for i in IDS))
    twice = write_files(
        tmp_path / "S1",
        cnts_tsv=table(GENES, np.vstack([COUNTS, COUNTS]), ids),
        locs_raw_tsv=table(("x", "y"), np.vstack([positions(), positions()]), ids),
    )
    section = open_section(twice, cache=cache)
    np.testing.assert_array_equal(section.need_spots().X.toarray(), np.vstack([COUNTS, COUNTS]))
    assert list(section.need_spots().obs_names) == list(ids)
    assert section.geometry().spot_diameter_um == 50.0
    assert section.geometry().pitch_um == 100.0
    assert any("16 of 32 spots" in doubt for doubt in section.doubts)


def test_a_slide_without_counts_can_be_predicted_on(tmp_path: Path, cache: Cache) -> None:
    folder = write_files(tmp_path / "he", "new-")
    for name in ("new-cnts.tsv", "new-locs-raw.tsv", "new-radius-raw.txt"):
        (folder / name).unlink()
    for path in (folder, folder / "new-"):
        section = open_section(path, cache=cache)
        assert section.spots is None
        assert section.name == "new"
        assert section.need_slide().mpp == 2
    assert open_section(folder, mpp=1.5, cache=cache).need_slide().mpp == 1.5
    # Beside counts, the folder stands for the section that has them.
    write_files(folder, "old-")
    assert open_section(folder, cache=cache).name == "old"
    assert open_section(folder / "new-", cache=cache).name == "new"
