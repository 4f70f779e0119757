"""GEO's archives as they are downloaded: what is packed is read where it lies."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from forked import no_file_beyond
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.formats.visium.archive import unpacked
from napari_stenhance.section.section import open_section
from napari_stenhance.section.several import SeveralSamples
from visium_folders import HIRES, Known, check, known, picture, write_h5, write_mex, write_outs


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "cache"))


def pack(folder: Path, name: str, what: Known, above: str = "spatial/") -> Path:
    """Write the folder spatial of a sample as an archive, with what is of no use here, too."""
    outs = write_outs(folder / "made" / name, what, header=False)
    (outs / "spatial" / "detected_tissue_image.jpg").write_bytes(b"\0")
    (outs / "spatial" / "notes.txt").write_text("of no use")
    path = folder / "GSE1" / name
    path.parent.mkdir(exist_ok=True)
    files = sorted((outs / "spatial").iterdir())
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as packed:
            for file in files:
                packed.write(file, f"{above}{file.name}")
    else:
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as archive:
            for file in files:
                archive.add(file, f"{above}{file.name}")
    return path


@pytest.mark.parametrize("ending", ["spatial.tar.gz", "spatial.tgz", "spatial.tar", "spatial.zip"])
def test_positions_in_an_archive_are_read(ending: str, tmp_path: Path) -> None:
    what = known()
    pack(tmp_path, f"GSM1_A_{ending}", what, above="A/outs/spatial/GSM1_A_")
    root = tmp_path / "GSE1"
    write_h5(root / "GSM1_A_filtered_feature_bc_matrix.h5", what)
    section = open_section(root)
    check(section, what)
    assert section.name == "GSM1_A"
    assert section.picture is not None
    assert section.picture.factor == HIRES
    assert section.picture.read().shape == (130, 150, 3)
    assert get_reader(str(root)) is not None
    # What is unpacked lies in the cache, and nothing but that.
    inside = sorted(f.name for f in (tmp_path / "cache" / "unpacked").rglob("*") if f.is_file())
    assert not any("notes" in name for name in inside)
    assert sorted(f.name for f in root.iterdir()) == [
        "GSM1_A_filtered_feature_bc_matrix.h5",
        f"GSM1_A_{ending}",
    ]


def test_of_several_samples_each_has_its_own_archive(tmp_path: Path) -> None:
    first, second = known(), known(group=2)
    root = tmp_path / "GSE1"
    for name, what in (("GSM1_A", first), ("GSM2_B", second)):
        pack(tmp_path, f"{name}_spatial.tar.gz", what)
        write_mex(root, what, prefix=f"{name}_")
    with pytest.raises(SeveralSamples, match=r"samples: GSM1_A, GSM2_B; name the sample") as said:
        open_section(root)
    assert (said.value.option, said.value.samples) == ("sample", ("GSM1_A", "GSM2_B"))
    check(open_section(root, sample="GSM2_B"), second)
    check(open_section(root, sample="GSM1_A"), first)
    # Another archive of the same name is unpacked anew.
    (tmp_path / "made").rename(tmp_path / "old")
    turned = known(turn=30, shift=(300, 50))
    pack(tmp_path, "GSM1_A_spatial.tar.gz", turned)
    check(open_section(root, sample="GSM1_A"), turned)


def raw_tar(folder: Path, *files: Path) -> Path:
    path = folder / "GSE12345_RAW.tar"
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, file.name)
    return path


def test_the_archive_of_a_series_opens_as_it_is_downloaded(tmp_path: Path) -> None:
    first, second = known(), known(group=2)
    root = tmp_path / "GSE1"
    for name, what in (("GSM1_A", first), ("GSM2_B", second)):
        pack(tmp_path, f"{name}_spatial.tar.gz", what)
        write_mex(root, what, prefix=f"{name}_")
    (root / "GSM1_A_notes.txt").write_text("of no use")
    path = raw_tar(tmp_path, *sorted(root.iterdir()))
    with pytest.raises(SeveralSamples, match=r"samples: GSM1_A, GSM2_B; name the sample") as said:
        open_section(path)
    assert said.value.samples == ("GSM1_A", "GSM2_B")
    assert str(said.value).startswith(f"{path}: there are several")
    section = open_section(path, sample="GSM2_B")
    check(section, second)
    assert section.origin == str(path)
    assert section.name == "GSM2_B"
    check(open_section(path, sample="GSM1_A"), first)
    inside = [f.name for f in (tmp_path / "cache" / "unpacked").rglob("*")]
    assert "GSM1_A_notes.txt" not in inside
    # One sample alone needs no name.
    path = raw_tar(tmp_path, *(file for file in sorted(root.iterdir()) if "GSM1" in file.name))
    check(open_section(path), first)


def test_an_archive_of_a_series_without_visium_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "GSM1_counts.csv").write_text("a,b")
    path = raw_tar(tmp_path, tmp_path / "GSM1_counts.csv")
    said = r"which holds GSM1_counts\.csv; unpack it \(tar -xf GSE12345_RAW\.tar\), and give"
    with pytest.raises(InputError, match=said):
        open_section(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match=r"this archive cannot be read|holds nothing"):
        open_section(path)


def _tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_two_samples_in_folders_of_a_series_are_not_mixed(tmp_path: Path) -> None:
    what = known()
    pack(tmp_path, "spatial.tar.gz", what)
    write_mex(tmp_path / "GSE1", what)
    files = {f.name: f.read_bytes() for f in sorted((tmp_path / "GSE1").iterdir())}
    path = _tar(
        tmp_path / "GSE1_RAW.tar",
        # What a Mac leaves beside each is none of them.
        {f"{of}{name}": b for of in ("A/", "A/._") for name, b in files.items()},
    )
    check(open_section(path), what)
    _tar(path, {f"{of}/{name}": b for of in "AB" for name, b in files.items()})
    said = r"holds A/barcodes\.tsv\.gz and B/barcodes\.tsv\.gz, so which .* unpack it, and open the"
    with pytest.raises(InputError, match=said):
        open_section(path)


@pytest.mark.parametrize("above", ["..\\..\\", "C:", "C:\\temp\\", "/tmp/", "../"])
def test_no_name_in_an_archive_leads_out_of_it_on_any_system(above: str, tmp_path: Path) -> None:
    path = _tar(tmp_path / "GSE1_RAW.tar", {f"{above}GSM1_barcodes.tsv": b"x"})
    assert [f.name for f in unpacked(path, lambda name: True).iterdir()] == ["GSM1_barcodes.tsv"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["GSE1_RAW.tar", "cache"]


def test_names_in_an_archive_are_shown_in_one_line(tmp_path: Path) -> None:
    path = _tar(tmp_path / "GSE1_RAW.tar", {"a\nb\x1b[31m.csv": b"x"})
    with pytest.raises(InputError, match=r"which holds a\?b\?\[31m\.csv; unpack it"):
        open_section(path)
    _tar(path, {f"GSM1_{'a' * 300}_barcodes.tsv": b"x"})
    with pytest.raises(InputError, match="name of one of its files is longer than 255 bytes"):
        open_section(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_is_no_fault_of_the_archive(tmp_path: Path) -> None:
    path = _tar(tmp_path / "GSE1_RAW.tar", {"GSM1_barcodes.tsv": bytes(10**6)})
    full = r"this cannot be written \(File too large\); free some"
    with no_file_beyond(10_000), pytest.raises(InputError, match=full):
        open_section(path)
    assert not list((tmp_path / "cache" / "unpacked").iterdir())


def test_a_gzipped_picture_is_looked_at(tmp_path: Path) -> None:
    what = known()
    outs = write_outs(tmp_path / "S1", what)
    drawn = outs / "spatial" / "tissue_hires_image.png"
    drawn.with_name("tissue_hires_image.png.gz").write_bytes(gzip.compress(drawn.read_bytes()))
    drawn.unlink()
    section = open_section(outs)
    check(section, what)
    assert section.picture is not None
    assert section.picture.read().shape == (130, 150, 3)
    # And it tells whether an image is the slide.
    picture(tmp_path / "S1" / "other.tif", shape=(540, 640))
    doubts = open_section(outs).doubts
    assert any("does not agree with tissue_hires_image.png" in doubt for doubt in doubts)


@pytest.mark.parametrize(
    "content", [b"\0", b"", gzip.compress(b"\0" * 2000, mtime=0), b"PK\x03\x04"]
)
def test_a_damaged_archive_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    write_h5(tmp_path / "A_filtered_feature_bc_matrix.h5", known())
    (tmp_path / "A_spatial.tar.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"A_spatial\.tar\.gz: this archive|no positions"):
        open_section(tmp_path)
    assert not list((tmp_path / "cache" / "unpacked").glob("*/*/*"))


def test_an_archive_leads_nowhere_else(tmp_path: Path) -> None:
    write_h5(tmp_path / "A_filtered_feature_bc_matrix.h5", known())
    with tarfile.open(tmp_path / "A_spatial.tar.gz", "w:gz") as archive:
        for name in ("../../tissue_positions.csv", "/tissue_positions_list.csv"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
        link = tarfile.TarInfo("spatial/scalefactors_json.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    with pytest.raises(InputError):
        open_section(tmp_path)
    inside = [f.name for f in (tmp_path / "cache" / "unpacked").rglob("*") if f.is_file()]
    assert sorted(inside) == ["tissue_positions.csv", "tissue_positions_list.csv"]
    assert not (tmp_path / "tissue_positions.csv").exists()
