"""Lists of genes from names, files and GMT, and which of them are there."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from napari_stenhance.errors import InputError
from napari_stenhance.results.gene_sets import GeneSet, find_listed, gene_sets, read_gene_sets

THERE = ("ERBB2", "Erbb3", "ERBB3", "GRB7", "X,2", "B C")


@pytest.mark.parametrize(
    ("text", "genes"),
    [
        ("ERBB2, GRB7 grb7\nNOPE", ("ERBB2", "GRB7", "grb7", "NOPE")),
        ("X,2, B C; ERBB2 ERBB2", ("X,2", "B C", "ERBB2")),
        (" ", None),
    ],
)
def test_names_are_taken_apart(text: str, genes: tuple[str, ...] | None) -> None:
    assert gene_sets(text, THERE) == (() if genes is None else (GeneSet("", genes),))


def test_other_letters_are_taken_where_only_one_can_be_meant() -> None:
    found = find_listed(["grb7", "GRB7", "erbb3", "ERBB3", "NOPE"], THERE)
    assert found.genes == ("GRB7", "ERBB3")
    assert found.unknown == ("NOPE",)
    assert found.unclear == ("erbb3",)
    assert found.describe() == (
        "2 of 4 genes are here. NOPE: not among these genes. "
        "erbb3: here in several ways of writing, none of them this one."
    )
    many = find_listed([f"Z{n}" for n in range(9)], THERE).describe()
    assert many == "0 of 9 genes are here. Z0, Z1, Z2, Z3, Z4 … (9): not among these genes."


def test_files_hold_one_list_or_sets(tmp_path: Path) -> None:
    plain = tmp_path / "mine.txt"
    plain.write_bytes(b"\xef\xbb\xbfERBB2\r\n\r\n GRB7 \r\n")
    assert gene_sets(f"@{plain}", THERE) == (GeneSet("mine", ("ERBB2", "GRB7")),)
    sets = "ONE\tof one\tERBB2\tGRB7\t\nTWO\t\tERBB3\tERBB3\n"
    both = (GeneSet("ONE", ("ERBB2", "GRB7")), GeneSet("TWO", ("ERBB3",)))
    (tmp_path / "s.gmt.gz").write_bytes(gzip.compress(sets.encode()))
    assert read_gene_sets(tmp_path / "s.gmt.gz") == both
    (tmp_path / "s.txt").write_text(sets, "utf-8")
    assert read_gene_sets(tmp_path / "s.txt") == both


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("s.gmt", b"ONE\tof one\tA\nTWO\n", "line 2 is no set of genes; give a text file"),
        ("s.txt", b"\n \n", "there is no gene in it"),
        ("s.txt", b"\xff\xfe\x00", "cannot be read"),
        ("s.txt", b"A\n" * 2**23 + b"B", "larger than 16 MB"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        gene_sets(f"@{tmp_path / name}", THERE)
    with pytest.raises(InputError, match="No such file"):
        gene_sets(f"@{tmp_path / 'gone'}", THERE)
