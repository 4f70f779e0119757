"""Stereo-seq: GEF and GEM in bins and cells, with known molecules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stenhance.errors import InputError
from napari_stenhance.section.section import Section, open_section
from stereo_files import CHIP, GENES, binned, write_cells, write_gef, write_gem
from visium_folders import picture

SHAPE = (90, 120)


def _check(section: Section, size: int, mpp: float = 0.5, *, ids: bool = True) -> None:
    spots = section.need_spots()
    where, gene = spots.X.nonzero()
    counts = np.asarray(spots.X[where, gene]).ravel()
    found = {
        (spots.obs_names[n], spots.var_names[g]): int(count)
        for n, g, count in zip(where, gene, counts, strict=True)
    }
    assert found == binned(size)
    assert spots.X.dtype == np.float32
    if ids:
        assert dict(zip(spots.var["gene_id"], spots.var_names, strict=True)) == dict(GENES)
    corners = np.array([list(map(int, name.split("_"))) for name in spots.obs_names])
    # Spot 0 of the chip is pixel 0, whose centre is 0.
    np.testing.assert_array_equal(spots.obsm["spatial"], corners + (size - 1) / 2)
    assert section.mpp == mpp
    assert spots.uns["stenhance"] == {
        "spot_diameter_um": size * mpp,
        "spot_shape": "square",
        "pitch_um": size * mpp,
        "unit": "micrometer",
    }


@pytest.mark.parametrize("old", [False, True])
def test_bins_of_a_gef_are_summed(
    old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_stenhance.section.formats.stereo_seq.gef._AT_ONCE", 70)
    write_gef(tmp_path / f"{CHIP}.tissue.gef", old=old)
    section = open_section(tmp_path / f"{CHIP}.tissue.gef")
    assert section.name == f"{CHIP}-bin20"
    _check(section, 20, ids=not old)
    assert any("of 20 spots of the chip, 10 µm; others are" in doubt for doubt in section.doubts)
    with pytest.raises(InputError, match="'50' is no size of bins; name one as bin50"):
        open_section(tmp_path / f"{CHIP}.tissue.gef", sample="50")


@pytest.mark.parametrize(("size", "there"), [(16, (1,)), (50, (1, 50)), (100, (50,))])
def test_any_size_that_the_file_can_give_is_made(
    size: int, there: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / f"{CHIP}.gef"
    write_gef(path, there)
    section = open_section(path, sample=f"bin{size}")
    assert section.name == f"{CHIP}-bin{size}"
    _check(section, size)


def test_a_size_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    write_gef(tmp_path / "a.gef", (50, 100))
    with pytest.raises(InputError, match="bins of 20 cannot be made of bin50, bin100; give a mult"):
        open_section(tmp_path / "a.gef", sample="bin20")
    # The finest that is there, where 20 cannot be made.
    assert open_section(tmp_path / "a.gef").name == "a-bin50"


def test_a_chip_that_is_not_known_has_an_inferred_scale(tmp_path: Path) -> None:
    write_gef(tmp_path / "a.gef", nm=715)
    _check(open_section(tmp_path / "a.gef"), 20, 0.715)
    write_gef(tmp_path / "b.gef", nm=0)
    section = open_section(tmp_path / "b.gef")
    _check(section, 20)
    assert any("0.5 µm per pixel, is inferred: the chip is not known" in d for d in section.doubts)
    _check(open_section(tmp_path / "b.gef", mpp=0.715), 20, 0.715)


def test_cells_lie_at_their_centres(tmp_path: Path) -> None:
    xy, counts = write_cells(tmp_path / f"{CHIP}.cellbin.gef")
    section = open_section(tmp_path / f"{CHIP}.cellbin.gef")
    assert section.name == f"{CHIP}-cells"
    spots = section.need_spots()
    assert list(spots.obs_names) == ["101", "102", "103", "104", "105"]
    np.testing.assert_array_equal(spots.X.toarray(), counts)
    np.testing.assert_array_equal(spots.obsm["spatial"], xy)
    assert list(spots.obs["area_px"]) == [100, 200, 200, 200, 400]
    geometry = section.geometry()
    assert geometry.spot_shape == "disc"
    assert geometry.spot_diameter_um == pytest.approx(np.sqrt(200 * 4 / np.pi) / 2)
    with pytest.raises(InputError, match="cells alone, and no bins"):
        open_section(tmp_path / f"{CHIP}.cellbin.gef", sample="bin20")


@pytest.mark.parametrize(
    ("kind", "name"), [("0.2", "a.gem.gz"), ("0.1", "a.gem"), ("public", "a_GEM.tsv.gz")]
)
def test_gem_of_every_version_is_summed(kind: str, name: str, tmp_path: Path) -> None:
    write_gem(tmp_path / name, kind)
    section = open_section(tmp_path / name)
    _check(section, 20, ids=kind == "0.2")
    assert any("is inferred: the chip is not known" in doubt for doubt in section.doubts)


def test_gem_of_cells_leaves_out_what_lies_in_none(tmp_path: Path) -> None:
    lines = ["geneID\tx\ty\tMIDCount\tCellID"]
    lines += ["A\t10\t20\t2\t7", "B\t14\t20\t1\t7", "A\t50\t50\t3\t9", "A\t90\t90\t4\t0"]
    (tmp_path / "a.cellbin.gem").write_text("\n".join(lines) + "\n")
    section = open_section(tmp_path / "a.cellbin.gem")
    spots = section.need_spots()
    assert list(spots.obs_names) == ["7", "9"]
    np.testing.assert_array_equal(spots.X.toarray(), [[2, 1], [3, 0]])
    np.testing.assert_array_equal(spots.obsm["spatial"], [[12, 20], [50, 50]])
    assert "4 molecules in no cell were left out." in section.doubts


def test_the_folder_of_saw_means_its_tissue_and_its_slide(tmp_path: Path) -> None:
    inside = tmp_path / "S1" / "outs" / "feature_expression"
    inside.mkdir(parents=True)
    for kind in ("raw", "tissue"):
        write_gef(inside / f"{CHIP}.{kind}.gef")
    write_cells(inside / f"{CHIP}.cellbin.gef")
    picture(inside.parent / "image" / f"{CHIP}_HE_regist.tif", shape=SHAPE)
    picture(inside.parent / "image" / f"{CHIP}_ssDNA_regist.tif", shape=SHAPE)
    section = open_section(tmp_path / "S1")
    assert section.origin.endswith("tissue.gef")
    assert section.slide is not None
    assert section.slide.path.name == f"{CHIP}_HE_regist.tif"
    _check(section, 20)
    (inside / f"{CHIP}.tissue.gef").unlink()
    with pytest.raises(InputError, match=r"several files hold counts: .*cellbin\.gef, .*raw\.gef"):
        open_section(tmp_path / "S1")


def test_the_offset_of_the_chip_is_taken_off_where_only_that_fits(tmp_path: Path) -> None:
    lines = ["#OffsetX=300", "#OffsetY=200", "geneID\tx\ty\tMIDCount"]
    lines += [f"A\t{300 + 20 * n}\t{200 + 20 * m}\t1" for n in range(5) for m in range(4)]
    (tmp_path / "a.gem").write_text("\n".join(lines) + "\n")
    small = picture(tmp_path / "he.tif", shape=SHAPE)
    xy = open_section(tmp_path / "a.gem").need_spots().obsm["spatial"]
    section = open_section(tmp_path / "a.gem", image=small)
    np.testing.assert_array_equal(section.need_spots().obsm["spatial"], xy - (300, 200))
    said = "The chip's offset, 300 and 200 px, was taken off the positions, as they lie on he.tif"
    assert any(said in doubt for doubt in section.doubts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("geneID\tx\ty\n", "there is no column MIDCount, only geneid, x, y"),
        ("geneID\tx\ty\tMIDCount\n", "this GEM cannot be read .Empty CSV file"),
        ("geneID\tx\ty\tMIDCount\nA\t1\tb\t1\n", "this GEM cannot be read"),
        ("geneID\tx\ty\tMIDCount\nA\t1\t-5\t1\n", "a place or a gene is not between 0 and"),
        ("#BinSize=50\ngeneID\tx\ty\tMIDCount\nA\t50\t0\t1\n", ""),
    ],
)
def test_a_damaged_gem_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.gem").write_text(text)
    if not said:
        assert open_section(tmp_path / "a.gem").name == "a-bin50"
        return
    with pytest.raises(InputError, match=said):
        open_section(tmp_path / "a.gem")
