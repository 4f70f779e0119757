"""What is no gene is neither counted nor predicted, nor lost: one rule for spots and cells."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from napari_stenhance.errors import InputError
from napari_stenhance.section.section import open_section
from napari_stenhance.section.tables.features import kinds_aside, set_aside
from test_cells import make_cells, make_spots, opened


def kinds(*names: str, **columns: list[str | None]) -> list[str]:
    return list(kinds_aside(pd.DataFrame(columns, index=list(names))))


def test_the_type_decides_and_names_where_there_is_none() -> None:
    gene = "Gene Expression"
    # A gene may be called as a control is, an antibody as a gene.
    assert kinds("ERCC-00001", "CD3E", "X", feature_types=[gene, "Antibody Capture", "Custom"]) == [
        "",
        "Antibody Capture",
        "Custom",
    ]
    assert kinds("A", "B", feature_type=["protein_coding", "lncRNA"]) == ["", ""]
    assert kinds("A", "B", feature_biotype=["gene", "spike-in"]) == ["", "spike-in"]
    assert kinds("A", "B", Modality=["rna", "protein"]) == ["", "protein"]
    assert kinds("A", "B", Feature_Types=["GEX", "ADT"]) == ["", "ADT"]
    assert kinds("A", "B", CodeClass=["Endogenous", "Negative"]) == ["", "Negative"]
    assert kinds("A", "BLANK_0006", feature_types=[gene, None]) == ["", "controls by their names"]
    # Of other spellings; a column of that name may say something else of genes.
    others = ["Ab", "isotype", "TotalSeq-B", "Cell Surface Protein", "negprobe", "neg", "prot",
              "Unassigned", "Peaks", "genomic_control", "CITE-seq", "NEG_PRB"]  # fmt: skip
    for column in ("type", "Feature Type", "feature.class", "probe_type", "assay"):
        for other in others:
            assert kinds("A", "B", **{column: ["gene", other]}) == ["", other]
            assert kinds("A", "B", **{column: ["gene_expression", other]}) == ["", other]
    assert kinds("A", "ERCC-00130", type=["marker", "other"]) == ["", "controls by their names"]
    assert kinds("A", "B", "C", gene_type=["lncRNA", "protein_coding", "antisense"]) == [""] * 3
    assert kinds("A", "B", feature_types=["gene", "gene"], type=["rna", "ADT"]) == ["", "ADT"]
    assert kinds("E1", "E2", feature_name=["CD3E", "CD3_TotalSeqB"]) == [
        "",
        "antibodies by their names",
    ]
    antibodies = ["CD3-TotalSeqC", "ADT_CD4", "HTO-1", "Hashtag_2", "CD8.TotalSeqA.x"]
    assert set(kinds(*antibodies)) == {"antibodies by their names"}
    controls = ["NegControlProbe_00042", "NegControlCodeword_0500", "antisense_PROKR2", "BLANK_6",
                "Blank-12", "UnassignedCodeword_0001", "DeprecatedCodeword_0002", "NegPrb3",
                "Intergenic_Region_9", "Negative1", "SystemControl7", "ERCC-00130", "blank3",
                "GenomicControlProbe_1", "negative_control_2", "Neg_Probe_3",
                "NegCtrl4"]  # fmt: skip
    assert set(kinds(*controls)) == {"controls by their names"}
    genes = ["ERCC1", "BLNK", "NEGR1", "ASIP", "CTRL", "FALSE", "Nell1", "SYSTEM", "Htr1a",
             "ADTRP", "BLANK", "SURF1"]  # fmt: skip
    assert set(kinds(*genes)) == {""}


def test_spots_count_genes_alone_and_keep_the_rest(tmp_path: Path) -> None:
    spots = make_spots(side=6)
    plain = open_section(spots).need_spots().X.toarray()
    more = sp.csr_matrix(np.random.default_rng(0).poisson(90, (36, 3)).astype("f4"))
    names = ["CD3E", "G1-antibody", "BLANK_0001"]
    both = ad.AnnData(
        sp.hstack([more[:, :2], spots.X, more[:, 2:]], format="csr"),
        obs=spots.obs,
        var=pd.DataFrame(
            {"feature_types": ["Antibody Capture"] * 2 + ["Gene Expression"] * 60 + [np.nan]},
            index=[*names[:2], *spots.var_names, names[2]],
        ),
        obsm={"spatial": spots.obsm["spatial"]},
        uns={"microns_per_pixel": 0.5},
    )
    both.layers["counts"] = both.X.copy()
    both.write_h5ad(tmp_path / "s.h5ad")
    for section in (open_section(both), open_section(tmp_path / "s.h5ad")):
        kept = section.need_spots()
        assert list(kept.var_names) == list(spots.var_names)
        np.testing.assert_array_equal(kept.X.toarray(), plain)
        assert kept.layers["counts"].shape == (36, 60)
        np.testing.assert_array_equal(kept.obsm["not_genes"].toarray(), more.toarray())
        aside = kept.uns["not_genes"]
        assert list(aside.index) == names
        assert list(aside["kind"]) == ["Antibody Capture"] * 2 + ["controls by their names"]
        (doubt,) = (d for d in section.doubts if "no genes" in d)
        assert doubt.startswith(
            "3 features that are no genes (Antibody Capture, controls by their names) are not"
        )
    assert both.n_vars == 63
    # Genes in other layers or orders of storage are cut alike; where all are genes, nothing is.
    assert set_aside(spots, "here")[0] is spots
    with pytest.raises(
        InputError, match=r"none of its 2 features is a gene, there are only Antibody Capture;"
    ):
        open_section(both[:, :2].copy())


def test_cells_learn_from_genes_alone() -> None:
    cells = make_cells()
    plain = opened(cells).cells
    cells.var["feature_types"] = "Gene Expression"
    cells.var.loc[["G3", "X2"], "feature_types"] = "Negative Control Probe"
    found = opened(cells)
    left = [gene for gene in plain.genes if gene not in ("G3", "X2")]
    assert list(found.cells.genes) == left
    columns = [plain.genes.index(gene) for gene in left]
    np.testing.assert_array_equal(found.cells.counts.toarray(), plain.counts.toarray()[:, columns])
    assert any("2 features that are no genes (Negative Control Probe)" in d for d in found.doubts)
