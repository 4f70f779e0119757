from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import napari_stenhance as st
from made_sections import make_slide_pixels, make_spots, write_image
from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import choose_genes, named_genes, rule_of, without_controls
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Note
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance

CONTROLS = (
    "BLANK_0001",
    "NegControlCodeword_0500",
    "NegControlProbe_00042",
    "UnassignedCodeword_0001",
    "DeprecatedCodeword_0002",
)


def sample_of(genes: Sequence[str], counts: Any) -> TrainingSection:
    """A sample of which only counts matter here."""
    matrix = sp.csr_array(np.asarray(counts, np.float32))
    nothing: Any = SimpleNamespace()
    return TrainingSection(
        "s", tuple(genes), matrix, np.zeros((matrix.shape[0], 2)), 55.0, nothing, nothing
    )


def test_the_most_counted_genes_come_in_the_order_of_their_counts() -> None:
    genes = ("A", "B", "C", "D", "E")
    # Totals 20, 21, 300, 21, 7.
    sample = sample_of(genes, [[10, 20, 100, 1, 7], [10, 1, 200, 20, 0]])
    np.testing.assert_array_equal(sample.counts_of(("E", "C")).sum(axis=0), [7, 300])
    assert choose_genes("heg:2", [sample]) == ("C", "B")
    # A gene of 20 counts in all is not taken, one of 21 is; equals keep their order.
    assert choose_genes("heg:100", [sample]) == ("C", "B", "D")
    # Counts add up over the sections; the second has its genes in another order, and one more.
    other = sample_of(("X", "E", "D", "C", "B", "A"), [[900, 14, 0, 0, 0, 400]])
    assert choose_genes("heg:9", [sample, other]) == ("A", "C", "B", "D", "E")
    with pytest.raises(InputError, match="heg:3: this leaves no gene"):
        choose_genes("heg:3", [sample_of(("A", "B"), [[20, 1]])])


@pytest.mark.parametrize("spec", ["all", "hvg:9", "heg:9"])
def test_no_rule_chooses_control_features(spec: str) -> None:
    genes = ("BLANKET", "BLNK", "A", *CONTROLS, "NEGR1", "B")
    rng = np.random.default_rng(0)
    sample = sample_of(genes, rng.poisson(50, (20, len(genes))))
    kept = ("BLANKET", "BLNK", "A", "NEGR1", "B")
    assert without_controls(genes) == kept
    assert sorted(choose_genes(spec, [sample])) == sorted(kept)
    # Who names one, wants it.
    assert choose_genes("A,BLANK_0001", [sample]) == ("A", "BLANK_0001")
    with pytest.raises(InputError, match="this leaves no gene"):
        choose_genes(spec, [sample_of(CONTROLS, rng.poisson(50, (20, 5)))])


@pytest.mark.parametrize(
    "spec", ["heg:", "heg:0", "heg:x", "heg:-1", "hvg:0", "hvg:²", "hvg:٣", "hvg:" + "9" * 5000]
)
def test_a_rule_needs_a_number(spec: str) -> None:
    with pytest.raises(InputError, match=f"write {spec[:4]}N with a number of genes"):
        rule_of(spec)


def test_rules_are_told_from_names() -> None:
    assert rule_of("heg:7") == rule_of(["heg:7"]) == "heg:7"
    assert rule_of("all") == "all"
    assert rule_of("HEG1,HVG2") is None
    assert rule_of(("HEG1", "HVG2")) is None
    with pytest.raises(InputError, match="A, hvg:5: hvg:5 chooses alone"):
        rule_of(["A", "hvg:5"])


THERE = ("A", "B", "C", "B,C", "1,2,3", "@A", "D, E")


@pytest.mark.parametrize(
    ("given", "genes"),
    [
        ("A", "A"),
        (" A, B ,A,", "A|B"),
        (("A", "C"), "A|C"),
        (["A,B", "C"], "A|B|C"),
        ("B,C", "B,C"),
        ("A,B,C", "A|B,C"),
        (("B", "C"), "B|C"),
        ("C, 1,2,3,A", "C|1,2,3|A"),
        ("D, E", "D, E"),
        ("A, D, E ,B", "A|D, E|B"),
        ("@A", "@A"),
    ],
)
def test_a_gene_with_a_comma_stays_whole(given: str | list[str], genes: str) -> None:
    assert named_genes(given, THERE, "them") == tuple(genes.split("|"))


def test_a_misprint_is_told_the_nearest_gene() -> None:
    there = ("KRT8", "KRT18", "ERBB2", "CD74")
    with pytest.raises(InputError, match=r"^ERRB2: not among them; did you mean ERBB2\?$"):
        named_genes("ERRB2", there, "them")
    with pytest.raises(InputError, match=r"^MUC1: not among them; leave it out.$"):
        named_genes("MUC1", there, "them")


def test_a_file_is_read_only_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "A").write_text("C")
    (tmp_path / "list.txt").write_text("\ufeffB,C\n\n A \nA\n", "utf-8")
    assert named_genes("A", THERE, "them") == ("A",)
    assert named_genes(["C", "@list.txt"], THERE, "them") == ("C", "B,C", "A")
    assert named_genes(f"@{tmp_path / 'list.txt'}", THERE, "them") == ("B,C", "A")
    for given, said in (
        ("list.txt", r"^list.txt: not among them; for the genes .* write @list.txt.$"),
        (["A,b", "c"], r"^b, c \(2 of 3\): not among them; did you mean B, C\?$"),
        ("X" * 500, "X: not among them; leave it out.$"),
        (["XXX", "YYY"], r"^XXX, YYY \(2 of 2\): not among them; leave them out.$"),
        ("@nothing", r"^nothing: the list of genes cannot be read \(No such file or directory\)"),
        ("@.", "^.: the list of genes cannot be read"),
        ("@~nobody-of-that-name/x", "^~nobody-of-that-name/x: the list of genes cannot be read"),
        (" , ", "no gene is named"),
        ((), "^Genes: no gene is named"),
    ):
        with pytest.raises(InputError, match=said):
            named_genes(given, THERE, "them", "write")
    with pytest.raises(InputError) as raised:
        named_genes("X", THERE, "them", "write")
    assert raised.value.option == "write"
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="binary: the list of genes cannot be read"):
        named_genes("@binary", THERE, "them")


@pytest.mark.parametrize(
    "given",
    ["A,B", ("A", "B"), ["A", "B"], np.array(["A", "B"]), pd.Index(["A", "B"]), iter("AB"), ""],
)
def test_options_take_a_name_or_any_sequence(given: Any) -> None:
    options = EnhanceOptions(sections="a.h5ad", out="o", genes=given, write=given)  # type: ignore[arg-type]
    named = named_genes(options.genes, THERE, "them") if options.genes else ()
    assert named == (() if isinstance(given, str) and not given else ("A", "B"))
    assert all(type(gene) is str for gene in options.genes)
    assert isinstance(hash(options.genes), int)


def test_controls_are_set_aside_and_said_once(tmp_path: Path) -> None:
    pixels, amounts = make_slide_pixels((800, 670), 0)
    write_image(tmp_path / "one.png", pixels)
    spots = make_spots(amounts, 0)
    spots.var_names = [*CONTROLS, *spots.var_names[5:]]
    spots.write_h5ad(tmp_path / "one.h5ad")
    notes: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    def modelled(genes: Any, write: str = "") -> tuple[str, ...]:
        notes.clear()
        (result,) = enhance(
            EnhanceOptions(
                sections=tmp_path / "one.h5ad", out=tmp_path / "r.stenhance.zarr", genes=genes,
                write=write, epochs=1, device="cpu",
            ),
            st.Job(listener=listen),
        )  # fmt: skip
        return result.field(result.runs[-1]).genes

    table = ad.read_h5ad(tmp_path / "one.h5ad")
    assert modelled("all") == tuple(table.var_names[5:])
    said = "5 features that are no genes (controls by their names) are not counted, but set"
    assert [n for n in notes if "control" in n] == [f'one: {said} aside as obsm["not_genes"].']
    totals = np.asarray(table.X.sum(axis=0)).ravel()[5:]
    most = np.argsort(-totals, kind="stable")[:3]
    assert modelled("heg:3") == tuple(table.var_names[5:][most])
    assert modelled("G7,G9") == ("G7", "G9")
    runs = ResultFolder.open(tmp_path / "r.stenhance.zarr").runs
    # However genes are named, it is the same run.
    (tmp_path / "genes").write_text("G7\nG9\n")
    for given in (["G7", "G9"], f"@{tmp_path / 'genes'}", " G7, G9"):
        assert modelled(given) == ("G7", "G9")
        assert ResultFolder.open(tmp_path / "r.stenhance.zarr").runs == runs
    with pytest.raises(InputError, match=r"BLANK_0001: not among .*control features apart"):
        modelled("all", write="BLANK_0001")
