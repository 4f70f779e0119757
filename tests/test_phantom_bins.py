"""Bins of a phantom with a transcriptome: what they count, and how they are written."""

from __future__ import annotations

import json

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from napari_stenhance.phantoms.genes import Program
from napari_stenhance.phantoms.phantom import Phantom
from napari_stenhance.phantoms.rare import RareGenes
from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.section.section import open_section

SEED = 5


@pytest.fixture(scope="module")
def transcriptome(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    return write_phantom(tmp_path_factory.mktemp("rare") / "one", 1, SEED, genes=600)


def test_rare_genes_are_counted_as_their_truth_says(transcriptome: Phantom) -> None:
    """As seldom as in a transcriptome, and as often as is expected, gene by gene and bin by bin."""
    phantom = transcriptome
    assert Phantom.open(phantom.folder) == phantom
    assert len(phantom.genes) == len(phantom.follows) == 640
    bins, rare = ad.read_h5ad(phantom.folder / "bins.h5ad"), list(phantom.genes[240:])
    assert list(bins.var_names) == [*phantom.genes[:200], *rare]
    counts = bins[:, rare].X
    assert counts.nnz / np.prod(counts.shape) < 0.015
    at = tuple(bins.obs[["array_row", "array_col"]].to_numpy().T)
    # True shares among them, times what was counted of them in each bin.
    truth = np.expm1(phantom.expression(rare)[:, *at].T)
    expected = truth / truth.sum(axis=1, keepdims=True) * np.asarray(counts.sum(axis=1))
    of_gene = np.asarray(counts.sum(axis=0)).ravel()
    many = expected.sum(axis=0) > 200
    assert np.corrcoef(of_gene[many], expected.sum(axis=0)[many])[0, 1] > 0.99
    # Where a gene is truly high, it is counted.
    high = truth > np.median(truth, axis=0)
    share = (counts.toarray() * high).sum() / counts.sum()
    assert share == pytest.approx((expected * high).sum() / expected.sum(), abs=0.02)
    assert share > 0.55
    # Named genes' truth is among all that is measured.
    measured = [*phantom.genes[:200], *rare]
    total = np.expm1(phantom.expression(measured)[:, *at]).sum(axis=0)
    assert total == pytest.approx(np.full(len(total), 1e4), rel=0.01)
    for name, genes in (("spots.h5ad", measured), ("reference.h5ad", list(phantom.genes))):
        table = ad.read_h5ad(phantom.folder / name)
        assert list(table.var_names) == genes
        assert table[:, rare].X.sum() > 0.1 * table.X.sum()


def test_a_tile_of_glass_has_no_bins_and_all_genes() -> None:
    nothing = np.zeros((0, 48))
    drawn = RareGenes(600, Program()).draw(nothing, nothing[:, 0], np.random.default_rng(0))
    assert (drawn.shape, drawn.nnz) == ((0, 600), 0)


def test_bins_are_written_as_space_ranger_writes_visium_hd(transcriptome: Phantom) -> None:
    """Looked at without our readers."""
    bins = ad.read_h5ad(transcriptome.folder / "bins.h5ad")
    square = transcriptome.folder / "visium_hd" / "binned_outputs" / "square_008um"
    with h5py.File(square / "filtered_feature_bc_matrix.h5") as file:
        matrix = {name: file["matrix"][name][...] for name in file["matrix"] if name != "features"}
        names = file["matrix/features/name"].asstr()[...]
        assert len(set(file["matrix/features/id"][...])) == len(names)
    parts = (matrix["data"], matrix["indices"], matrix["indptr"])
    counts = sp.csr_matrix(parts, shape=tuple(matrix["shape"][::-1]))
    assert (counts != bins.X).nnz == 0
    assert list(names) == list(bins.var_names)
    barcodes = matrix["barcodes"].astype(str)
    assert list(barcodes) == list(bins.obs_names)
    places = pd.read_parquet(square / "spatial" / "tissue_positions.parquet").set_index("barcode")
    assert len(places) == transcriptome.domain.size
    assert set(places.index[places["in_tissue"] == 1]) == set(barcodes)
    xy = places.loc[barcodes, ["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    # Pixels count from the corner of the first one, ours from its centre.
    assert np.abs(xy - 0.5 - bins.obsm["spatial"]).max() < 1e-9
    scale = json.loads((square / "spatial" / "scalefactors_json.json").read_text("utf-8"))
    assert (
        scale["bin_size_um"] / scale["spot_diameter_fullres"] == scale["microns_per_pixel"] == 0.5
    )


def test_visium_hd_is_read_as_the_table_of_bins_is(transcriptome: Phantom) -> None:
    """Reader and writer were made apart, from one description of the format."""
    folder = transcriptome.folder
    hd = open_section(folder / "visium_hd", image=folder / "he.tif")
    ours = open_section(folder / "bins.h5ad")
    spots, bins = hd.need_spots(), ours.need_spots()
    assert list(spots.obs_names) == list(bins.obs_names)
    assert list(spots.var_names) == list(bins.var_names)
    assert (spots.X != bins.X).nnz == 0
    assert np.abs(spots.obsm["spatial"] - bins.obsm["spatial"]).max() < 1e-9
    assert hd.mpp == ours.mpp
    assert hd.geometry() == ours.geometry()
    for name in ("array_row", "array_col"):
        assert (spots.obs[name].to_numpy() == bins.obs[name].to_numpy()).all()
