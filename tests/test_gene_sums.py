"""Sums of genes: how they are read, and that every source shows the same formula."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import tifffile

import napari_stenhance as st
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.plugin.colours import SpotColours
from napari_stenhance.results.field import GeneField
from napari_stenhance.results.gene_sums import GeneNames, score_of
from napari_stenhance.results.genes import gene_group, written_genes
from napari_stenhance.results.imputed import imputed_run
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.storage.pyramid import open_levels
from tiny_result import GENES, RUN

NAMES = GeneNames(
    (
        "ERBB2",
        "GRB7",
        "ALB",
        "HLA-A",
        "HLA",
        "A",
        "NKX2-1",
        "H2-K1.1",
        "C/c",
        "7SK",
        "CD3(e)",
        "T,2",
    )
)


@pytest.mark.parametrize(
    ("text", "written", "weights"),
    [
        ("ERBB2 + GRB7 - ALB", "ERBB2 + GRB7 - ALB", {"ERBB2": 1, "GRB7": 1, "ALB": -1}),
        (" erbb2+grb7 -alb", "ERBB2 + GRB7 - ALB", {"ERBB2": 1, "GRB7": 1, "ALB": -1}),
        # Names of genes come first, the longest of them.
        ("HLA-A", "HLA-A", {"HLA-A": 1}),
        ("HLA - A", "HLA - A", {"HLA": 1, "A": -1}),
        ("HLA-ALB", "HLA - ALB", {"HLA": 1, "ALB": -1}),
        ("HLA-A-NKX2-1-H2-K1.1", None, {"HLA-A": 1, "NKX2-1": -1, "H2-K1.1": -1}),
        ("C/c/2 + CD3(e)", "C/c / 2 + CD3(e)", {"C/c": 0.5, "CD3(e)": 1}),
        ("7SK * 2e-1", "7SK * 2e-1", {"7SK": 0.2}),
        ("-(A - 2*(ALB - A))", "-(A - 2 * (ALB - A))", {"A": -3, "ALB": 2}),
        ("MEAN(A,T,2,ALB)", "mean(A, T,2, ALB)", {"A": 1 / 3, "T,2": 1 / 3, "ALB": 1 / 3}),
        ("mean(A, ALB) - mean(HLA)", None, {"A": 0.5, "ALB": 0.5, "HLA": -1}),
        ("(a)", "A", {"A": 1}),
        ("my score = A + ALB", "my score = A + ALB", {"A": 1, "ALB": 1}),
        ("A = A", "A = A", {"A": 1}),
        ("A + ALB - A", "ALB", {"ALB": 1}),
    ],
)
def test_a_sum_is_read_by_the_names_of_genes(
    text: str, written: str | None, weights: dict[str, float]
) -> None:
    found = NAMES.find(text, any_case=True)
    assert found.weights == pytest.approx(weights)
    assert list(found.weights) == list(weights)
    if written is not None:
        assert found.text == written
    # What is written is read as the same, in these letters alone.
    again = NAMES.find(found.text)
    assert (again.text, again.weights) == (found.text, found.weights)
    assert found.text in NAMES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing|not understood at its end"),
        ("ERBB2 + GBR7", "Gene 'GBR7' is not among these 12 genes; did you mean GRB7"),
        ("NOPE + ALB", "not measured or not chosen. The table of genes lists those that are here."),
        ("ALB = ERBB2 + GRB7", "ALB is a gene: give the sum ERBB2 [+] GRB7 another name"),
        ("erbb2 + ALB", "Gene 'erbb2' is not .* did you mean ERBB2"),
        ("ERBB2 ALB", "not understood at 'ALB'; write sums"),
        ("ERBB2 +", "not understood at its end"),
        ("(ERBB2", "not understood at its end"),
        ("(ERBB2, ALB)", "not understood"),
        ("mean(ERBB2", "not understood"),
        ("mean()", "not understood"),
        ("mean(A, 2)", "numbers multiply or divide genes, and are not added"),
        ("A + 1", "numbers multiply or divide genes, and are not added"),
        ("2", "numbers multiply or divide genes, and are not added"),
        ("A * ALB", "multiplied and divided by numbers only; of logarithms, a difference"),
        ("1 / A", "multiplied and divided by numbers only"),
        ("A / 0", "not understood"),
        ("A - A", "nothing is left of it"),
        ("A * 1e308 * 1e308", "too large"),
        ("1e999 * A", "not understood"),
        ("(" * 60 + "A" + ")" * 60, "not understood"),
        ("A + " * 20000 + "A", "longer than 65536 letters"),
        ("__import__('os')", "Gene '__import__' is not among"),
    ],
)
def test_what_is_no_sum_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(st.InputError, match=said):
        NAMES.find(text)
    assert text not in NAMES


def test_letters_that_two_genes_share_are_asked_for() -> None:
    names = GeneNames(("Mki67", "MKI67", "B"))
    with pytest.raises(st.InputError, match="Mki67 and MKI67 are called so"):
        names.find("mki67 + b", any_case=True)
    assert names.find("MKI67 + b", any_case=True).genes == ("MKI67", "B")


def test_titles_are_short_and_say_what_is_shown() -> None:
    genes = [f"GENE{n}" for n in range(30)]
    names = GeneNames(genes)
    assert names.find(score_of(genes, "HALLMARK")).label == "HALLMARK: mean of 30 genes"
    assert names.find(" + ".join(genes)).label == "sum of 30 genes"
    assert names.find("X = GENE1 - GENE2").label == "X: GENE1 - GENE2"
    assert names.find(score_of(["GENE1"])).label == "GENE1"
    # A set that is called like a gene is not taken for it.
    called = names.find(score_of(genes[:2], "GENE1", names.known))
    assert called.label == "GENE1 (set): mean(GENE0, GENE1)"


def test_runs_and_spots_show_one_formula(tiny: Path) -> None:
    text, weights = "2 * A - mean(B, C/c)", (2.0, -0.5, -0.5)
    result = ResultFolder.open(tiny)
    for run in (FieldRun(result, RUN), imputed_run(result)):
        for level in (0, 1):
            parts = [run.levels(gene).part(level).astype(float) for gene in GENES]
            expected = sum(by * part for by, part in zip(weights, parts, strict=True))
            shown = run.levels(text).part(level)
            np.testing.assert_allclose(shown, expected, rtol=1e-5, atol=1e-5)
        with pytest.raises(st.InputError, match="the spread of a sum is not known"):
            run.levels(text, "spread")
        with pytest.raises(st.InputError, match="Gene 'nope' is not among"):
            run.levels("A + nope")
    counts = np.random.default_rng(0).poisson(3.0, (20, 3)).astype("f4")
    spots = SpotColours(GENES, sp.csc_array(counts), counts.sum(axis=1).astype(float))
    log = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(spots.values(text), log @ weights, rtol=1e-4, atol=1e-5)
    assert text in spots
    assert "A + D" not in spots


def test_a_raster_of_genes_is_summed_gene_by_gene(tiny: Path) -> None:
    """A published recipe keeps genes, and not a latent."""
    field = FieldRun(ResultFolder.open(tiny), RUN).field
    given = field.decoder
    plain = Decoder(
        GENES,
        None,
        given.bias,
        given.unit,
        *(given.held_out_r, given.held_out_r_given_depth, given.spread_scale),
    )
    raster = GeneField(field.grid, plain, field.latent, field.spread)
    shown = raster.sum_levels({"A": 1.0, "C/c": -2.0}).part()
    np.testing.assert_allclose(shown, raster.image("A") - 2 * raster.image("C/c"), rtol=1e-5)


def test_a_sum_is_no_more_to_be_trusted_than_its_genes(tiny: Path) -> None:
    result = ResultFolder.open(tiny)
    field, imputed = FieldRun(result, RUN), imputed_run(result)
    # r given depth: .25, .125, not known.
    assert field.reliability("A + B") == "reliable"
    assert field.reliability("A + B", 0.2) == "not reliable"
    assert field.reliability("A + C/c") == "not known"
    assert field.reliability("A + B + C/c", 0.2) == "not reliable"
    said = field.trust("A + B")
    assert said == (
        "A + B: how well it is predicted as a whole is not known; of its genes, B has the least r "
        "given depth on what was held out, 0.12."
    )
    assert field.origin("A + B") == "predicted"
    assert [imputed.origin(text) for text in ("A + B", "A + C/c", "2 * C/c")] == [
        "imputed",
        "partly imputed",
        "measured",
    ]
    assert imputed.reliability("2 * C/c") == "measured"
    assert imputed.trust("2 * C/c").endswith("its genes are shown as they were measured.")


def test_the_front_door_takes_a_sum(tiny: Path) -> None:
    result = st.Result.open(tiny)
    image = result.run(RUN)["A+B - C/c"]
    assert (image.name, image.attrs["gene"]) == ("A + B - C/c",) * 2
    assert image.attrs["weights"] == {"A": 1, "B": 1, "C/c": -1}
    assert np.isnan(image.attrs["held_out_r"])
    assert image.attrs["held_out_r_of_genes"]["B"] == 0.25
    one = result.run(RUN)
    np.testing.assert_allclose(image, one["A"] + one["B"] - one["C/c"], rtol=1e-4, atol=1e-5)
    with pytest.raises(st.InputError, match="the spread of a sum is not known"):
        one.spread("A + B")


def test_a_sum_is_written_and_exported_as_an_image(tiny: Path, tmp_path: Path) -> None:
    path = shutil.copytree(tiny, tmp_path / "t.stenhance.zarr")
    st.write(path, genes="B-A", run=RUN)
    run = FieldRun(ResultFolder.open(path), RUN)
    assert written_genes(run) == ("B - A", "C/c")
    group = gene_group(run, "B - A")
    assert group is not None
    written = np.asarray(open_levels(group)[0])
    np.testing.assert_array_equal(written, run.levels("B - A").part())
    assert written.min() < 0
    st.export(path, tmp_path / "t.ome.tif", to="ome-tiff", genes="mean(A, B)", run=RUN)
    pixels = tifffile.imread(tmp_path / "t.ome.tif")
    np.testing.assert_array_equal(pixels.squeeze(), run.levels("mean(A, B)").part())
    with pytest.raises(st.InputError, match="Gene 'NOPE' is not among these 3 genes"):
        st.write(path, genes="B - NOPE", run=RUN)
    with pytest.raises(st.InputError, match=r"B-X \(1 of 2\): not among the genes of the run"):
        st.write(path, genes="A,B-X", run=RUN)
    many = " + ".join(["A"] * 200)
    with pytest.raises(st.InputError, match="its name is too long for a folder"):
        st.write(path, genes=f"{many} + B", run=RUN)
