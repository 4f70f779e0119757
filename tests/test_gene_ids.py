"""Symbols and ids: genes are called by symbols, and both are understood wherever one is named."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import zarr
from typer.testing import CliRunner

import napari_stenhance as st
from napari_stenhance.cli import app
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.genes import named_genes
from napari_stenhance.plugin.colours import SpotColours
from napari_stenhance.plugin.widgets.gene_rows import GeneRows
from napari_stenhance.results.gene_sets import find_listed
from napari_stenhance.results.gene_sums import GeneNames
from napari_stenhance.section.gene_names import aliases_in, aliases_of, by_symbols, gene_meant
from napari_stenhance.section.section import open_section
from test_cells import make_cells, make_spots, opened


def ensembl(n: int, version: int | None = None) -> str:
    return f"ENSG{n:011d}" + (f".{version}" if version else "")


def var(symbols: list[str], column: str = "gene_symbol", version: int | None = 3) -> pd.DataFrame:
    index = [ensembl(n, version) for n in range(len(symbols))]
    return pd.DataFrame({column: symbols}, index=index)


@pytest.mark.parametrize("column", ["gene_symbol", "gene_name", "feature_name", "symbol"])
def test_genes_are_called_by_their_symbols_where_there_are_any(column: str) -> None:
    counts = np.arange(24.0).reshape(4, 6)
    table = ad.AnnData(counts, var=var(["ACTB", "TBCE", "", "TBCE", "KRT8", "ERBB2"], column))
    ids = list(table.var_names)
    named, (doubt,) = by_symbols(table)
    twice = f"TBCE-{ids[1]}", ids[2], f"TBCE-{ids[3]}"
    assert list(named.var_names) == ["ACTB", *twice, "KRT8", "ERBB2"]
    assert list(named.var["gene_id"]) == [ensembl(n, 3) for n in range(6)]
    np.testing.assert_array_equal(named.X, counts)
    assert f'called by var["{column}"]; 2 that share one are called SYMBOL-ID' in doubt


@pytest.mark.filterwarnings("ignore:Variable names")
def test_symbols_that_genes_share_are_told_apart_by_the_ids_beside_them() -> None:
    symbols = ["TBCE", "ACTB", "nan", "TBCE", "nan"]
    ids = [ensembl(n) for n in range(5)]
    counts = np.arange(20.0).reshape(4, 5)
    table = ad.AnnData(
        counts, var=pd.DataFrame({"gene_ids": ids}, index=symbols),
        obsm={"spatial": np.eye(4)[:, :2] * 90}, uns={"microns_per_pixel": 0.5},
    )  # fmt: skip
    section = open_section(table)
    spots = section.need_spots()
    names = [f"TBCE-{ids[0]}", "ACTB", ids[2], f"TBCE-{ids[3]}", ids[4]]
    assert list(spots.var_names) == names
    np.testing.assert_array_equal(spots[:, ids[2]].X.toarray()[:, 0], counts[:, 2])
    assert (
        "2 genes share their symbol with another and are called SYMBOL-ID, 2 have none and "
        'are called by their id, by var["gene_ids"].'
    ) in section.doubts
    assert list(table.var_names) == symbols
    # Ids that do not tell them apart are none.
    table.var["gene_ids"] = "ENSG00000000001"
    with pytest.raises(st.InputError, match="gene id 'TBCE' occurs more than once"):
        open_section(table)


def test_what_is_called_by_symbols_already_or_has_none_stays() -> None:
    for kept in (
        pd.DataFrame({"gene_ids": [ensembl(1), ensembl(2)]}, index=["ACTB", "KRT8"]),
        pd.DataFrame({"gene_ids": [ensembl(1), ensembl(2)]}, index=[ensembl(1, 1), ensembl(2, 1)]),
        pd.DataFrame({"gene_symbol": ["", np.nan]}, index=[ensembl(1), ensembl(2)]),
        pd.DataFrame({"gene_symbol": ["SYM1", "SYM2"]}, index=["G1", "G2"]),
    ):
        table = ad.AnnData(np.ones((3, 2)), var=kept)
        assert by_symbols(table)[1] == ()
        assert list(table.var_names) == list(kept.index)


def test_another_name_means_one_gene_alone() -> None:
    meant = aliases_of(["A", "B", "C", "D"], [ensembl(1, 4), "A", "X", "X"])
    assert meant == {ensembl(1, 4): "A", ensembl(1): "A"}
    known = frozenset("ABCD")
    for name in (ensembl(1, 4), ensembl(1), ensembl(1, 9), "A"):
        assert gene_meant(name, known, meant) == "A"
    for name in (ensembl(2), "X", "x"):
        assert gene_meant(name, known, meant) == name


def test_every_way_to_name_genes_takes_both(tmp_path: Path) -> None:
    table = pd.DataFrame({"gene_ids": [ensembl(1, 2), ensembl(2, 1), ensembl(3, 7)]},
                         index=["ERBB2", "GRB7", "HLA-A"])  # fmt: skip
    genes, aliases = tuple(table.index), aliases_in(table)
    file = tmp_path / "genes.txt"
    file.write_text(f"{ensembl(3)}\nGRB7\n{ensembl(2, 1)}\n")
    assert named_genes(f"{ensembl(1)},GRB7", genes, "here", aliases=aliases) == ("ERBB2", "GRB7")
    assert named_genes(f"@{file}", genes, "here", aliases=aliases) == ("HLA-A", "GRB7")
    with pytest.raises(st.InputError, match=f"{ensembl(9)}: not among here"):
        named_genes(ensembl(9), genes, "here", aliases=aliases)
    names = GeneNames(genes, aliases)
    found = names.find(f"{ensembl(1)} - mean({ensembl(3)}, {ensembl(2, 1)})")
    assert found.text == "ERBB2 - mean(HLA-A, GRB7)"
    assert found.weights == {"ERBB2": 1, "HLA-A": -0.5, "GRB7": -0.5}
    assert ensembl(1) in names
    listed = find_listed([ensembl(3, 7), "erbb2", ensembl(8)], genes, aliases)
    assert (listed.genes, listed.unknown) == (("HLA-A", "ERBB2"), (ensembl(8),))
    rows = GeneRows.of_measured(genes, aliases)
    assert list(rows.order(ensembl(2).lower())) == [1]
    assert rows.meant(ensembl(2), rows.order(ensembl(2))) == "GRB7"


def test_the_decoder_keeps_them(tmp_path: Path) -> None:
    zero = np.zeros(2, np.float32)
    others = (ensembl(1), "")
    decoder = Decoder(("A", "B"), None, zero, "log1p CP10k", zero, zero, zero, (), others)
    decoder.write(zarr.create_group(tmp_path / "kept.zarr"))
    again = Decoder.read(zarr.open_group(tmp_path / "kept.zarr", mode="r"))
    assert again.other_names == others
    assert again.aliases == {ensembl(1): "A"}
    assert again.only("A")[0].other_names == (ensembl(1),)


def test_measured_and_imputed_genes_are_found_by_their_ids() -> None:
    spots = make_spots(side=6)
    symbols = list(spots.var_names)
    spots.var = var(symbols)
    section = open_section(spots)
    measured = section.need_spots()
    assert list(measured.var_names) == symbols
    assert SpotColours.from_section(section).names.find(ensembl(5)).text == "G5"
    cells = make_cells()
    assert opened(cells, measured).cells.genes == opened(cells, make_spots(side=6)).cells.genes


def test_a_run_takes_symbols_and_ids(small_files: list[Path], tmp_path: Path) -> None:
    spots = ad.read_h5ad(small_files[0])
    genes = list(spots.var_names)
    spots.var = var(genes)
    (image,) = small_files[0].parent.glob(f"{small_files[0].stem}_*.jpg")
    section = st.read(spots, image=image)
    quick = {"epochs": 1, "device": "cpu", "job": st.Job()}
    result = st.enhance(section, out=tmp_path / "r", genes=[genes[0], ensembl(1), ensembl(2, 3)],
                        write=[ensembl(0)], **quick)  # fmt: skip
    assert list(result.genes) == genes[:3]
    assert [p.name for p in (tmp_path / "r").glob("fields/*/genes/*") if p.is_dir()] == [genes[0]]
    again = st.Result.open(tmp_path / "r")
    for written in (genes[1], ensembl(1), ensembl(1, 3)):
        np.testing.assert_array_equal(again[written], result[genes[1]])
    np.testing.assert_array_equal(
        again[f"{ensembl(1)} - {genes[2]}"], result[f"{genes[1]} - {genes[2]}"]
    )
    done = CliRunner().invoke(app, ["write", str(tmp_path / "r"), "--genes", ensembl(2)])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "r").glob(f"fields/*/genes/{genes[2]}"))) == 1
