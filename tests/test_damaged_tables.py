"""What damaged counts and positions claim is doubted before anything follows it."""

from __future__ import annotations

import gzip
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from napari_stenhance.errors import InputError
from napari_stenhance.section.region import Region
from napari_stenhance.section.section import open_section
from napari_stenhance.section.tables import hdf5
from napari_stenhance.section.tables.claims import opened_text
from napari_stenhance.section.tables.counts import StoredCounts, check_sparse, checked_counts
from napari_stenhance.section.tables.hdf5 import look_through
from napari_stenhance.section.tables.matrix_market import read_matrix_market
from test_cells import make_spots
from test_section import write_legacy
from visium_folders import check, known, write_mex, write_outs


@pytest.fixture(autouse=True)
def _hdf5_in_its_own_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "subprocess", subprocess)


def _matrix() -> sp.csr_matrix:
    return sp.csr_matrix(np.array([[0, 2.0, 1], [3, 0, 0]], np.float32))


def _broken(part: str, value: Any) -> sp.csr_matrix:
    matrix = _matrix()
    setattr(matrix, part, np.asarray(value))
    return matrix


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("indices", [1, 9, 0], "outside the matrix"),
        ("indices", [1, -1, 0], "outside the matrix"),
        ("indices", [1.0, 2.0, 0.0], "indices float64"),
        ("indices", [1, 2], "indices \\(2,\\)"),
        ("indptr", [0, 2], "not one more than the 2 lines"),
        ("indptr", [1, 2, 3], "does not ascend"),
        ("indptr", [0, 2**31 - 1, 3], "does not ascend"),
        ("indptr", [0, 2, 2**40], "does not ascend"),
        ("data", np.array([1, 2, 3j]), "complex128"),
        ("data", np.array([1, 2, 3], object), "object"),
        ("data", [True, True, False], "bool"),
    ],
)
def test_a_sparse_matrix_is_checked_before_it_is_used(part: str, value: Any, said: str) -> None:
    check_sparse(_matrix())
    for use in (check_sparse, checked_counts, StoredCounts.from_group):
        with pytest.raises(ValueError, match=said):
            use(_broken(part, value))


def test_counts_are_of_types_that_scipy_computes_with() -> None:
    for kind in ("<f2", ">f4", ">i4", "u1", "f8", "<u8"):
        for form in (sp.csr_matrix, sp.csc_matrix):
            matrix = form(_matrix())
            matrix.data = matrix.data.astype(kind)
            matrix.indices = matrix.indices.astype(">i4")
            counts = checked_counts(matrix)
            np.testing.assert_array_equal(counts.toarray(), _matrix().toarray())
            assert (counts @ np.ones(3)).tolist() == [3, 3]
    twice = sp.csr_matrix((np.ones(3), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 3))
    assert checked_counts(twice).data.tolist() == [2, 1]
    with pytest.raises(ValueError, match=r"1\.80144e\+16 is no count"):
        checked_counts(np.array([[2**54, 1]]))


def _edit(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return edit


def _claim(name: str, shape: tuple[int, ...]) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        # Since pandas 3 a mask may lie beside texts.
        at = f"{name}/values" if isinstance(file[name], h5py.Group) else name
        kind, about = file[at].dtype, dict(file[at].attrs)
        del file[at]
        file.create_dataset(at, shape, kind, chunks=tuple(min(n, 1000) for n in shape))
        file[at].attrs.update(about)

    return change


def _link(name: str, other: Path | str) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[name]
        file[name] = h5py.SoftLink("/") if other == "/" else h5py.ExternalLink(str(other), name)

    return change


def _elsewhere(file: Any) -> None:
    values = file["obsm/spatial"][:]
    about = dict(file["obsm/spatial"].attrs)
    del file["obsm/spatial"]
    outside = Path(file.filename).with_suffix(".raw")
    outside.write_bytes(values.tobytes())
    storage = [(str(outside), 0, h5py.h5f.UNLIMITED)]
    made = file.create_dataset("obsm/spatial", values.shape, values.dtype, external=storage)
    made.attrs.update(about)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_claim("X/data", (10**12,)), r"X/data claims to hold 1000000000000 values"),
        (_claim("obsm/spatial", (10**9, 2)), "obsm/spatial claims to hold 1000000000 × 2 values"),
        (_claim("obs/_index", (10**9,)), r"obs/_index\S* claims to hold"),
        (_claim("uns/microns_per_pixel", (10**9,)), "uns/microns_per_pixel claims to hold"),
        (_link("X", "whole.h5ad"), r"X is a link to another file, whole\.h5ad, .* not followed"),
        (_link("obs/note", "/"), "leads in circles"),
        (_elsewhere, "obsm/spatial lies in another file, which is not followed"),
    ],
)
def test_what_an_h5ad_claims_or_links_to_is_refused(
    change: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    # A link would find what it names.
    make_spots().write_h5ad(tmp_path / "whole.h5ad")
    path = tmp_path / "s.h5ad"
    make_spots().write_h5ad(path)
    assert open_section(path).need_spots().shape == (144, 60)
    _edit(change)(path)
    with pytest.raises(InputError, match=rf"s\.h5ad: .*{said}"):
        open_section(path)


def test_a_compressed_table_of_zeros_is_believed(tmp_path: Path) -> None:
    spots = make_spots()
    spots.obsm["zeros"] = np.zeros((spots.n_obs, 20_000))
    spots.write_h5ad(tmp_path / "s.h5ad", compression="gzip", compression_opts=9)
    size = (tmp_path / "s.h5ad").stat().st_size
    assert spots.obsm["zeros"].nbytes > 50 * size
    assert open_section(tmp_path / "s.h5ad").need_spots().obsm["zeros"].shape[1] == 20_000


def test_a_file_on_which_hdf5_never_ends_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.h5ad"
    make_spots().write_h5ad(path)
    content = bytearray(path.read_bytes())
    # The free list of a group's names: its first entry is said to be its own next.
    heap = content.index(b"HEAP")
    size, free, segment = (int.from_bytes(content[heap + 8 * n : heap + 8 * n + 8], "little")
                           for n in (1, 2, 3))  # fmt: skip
    assert free < size
    content[segment + free : segment + free + 8] = free.to_bytes(8, "little")
    path.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(
        InputError,
        match=r"s\.h5ad: this (HDF5 file is damaged|is no HDF5)",
    ):
        open_section(path)
    assert time.monotonic() - started < 60


def test_without_another_process_files_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_spots().write_h5ad(tmp_path / "s.h5ad")
    monkeypatch.setattr(hdf5.sys, "executable", str(tmp_path / "nothing"))
    assert open_section(tmp_path / "s.h5ad").need_spots().shape == (144, 60)
    # A program that is no Python, such as an application that holds one.
    monkeypatch.setattr(hdf5.sys, "executable", "/bin/true")
    look_through(tmp_path / "s.h5ad")


HEAD = "%%MatrixMarket matrix coordinate integer general\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "2 3 1\n1 9 4\n", "not among 1 to 3"),
        (HEAD + "2 3 1\n0 1 4\n", "not among 1 to 2"),
        (HEAD + "2 3 1000000000000\n1 1 4\n", "1 entries, but states 1000000000000"),
        (HEAD + "9999999999 3 1\n1 1 4\n", "counts 9999999999 features in 3 barcodes"),
        (HEAD + "2 3 1\n1 1\n", "more or less than a row"),
        (HEAD + "2 3 1\n1 1 4 4\n", "more or less than a row"),
        (HEAD + "2 3 1\n1 1 many\n", "many"),
        (HEAD + "2 3 1\n1 99999999999999999999 1\n", "Overflow|large|nteger"),
        (HEAD + "2 3\n1 1 4\n", "does not state"),
        (HEAD.replace("general", "symmetric") + "2 3 1\n1 1 1\n", "a symmetric matrix"),
        (HEAD.replace("integer", "complex") + "2 3 1\n1 1 1\n", "does not begin"),
        ("no matrix", "does not begin"),
        ("", "does not begin"),
    ],
)
def test_a_matrix_market_file_is_what_it_states(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "m.mtx").write_text(text)
    with pytest.raises((ValueError, OverflowError), match=said):
        read_matrix_market(tmp_path / "m.mtx", (2, 3))


def test_a_matrix_market_file_reads_as_written(tmp_path: Path) -> None:
    text = HEAD + "%about\n\n2 3 3\n1 1 4\n2 3 5\n1 3 9007199254740991\n"
    (tmp_path / "m.mtx.gz").write_bytes(gzip.compress(text.encode()))
    counts = read_matrix_market(tmp_path / "m.mtx.gz", (2, 3))
    assert counts.toarray().tolist() == [[4, 0], [0, 0], [9007199254740991, 5]]
    (tmp_path / "none.mtx").write_text(HEAD + "2 3 0\n")
    assert read_matrix_market(tmp_path / "none.mtx", (2, 3)).nnz == 0


def _bomb(path: Path) -> None:
    """1.6 GB, in 1.6 MB, behind what is there."""
    path.write_bytes(path.read_bytes() + gzip.compress(b"1\t" * 2**22, 9) * 200)


def test_texts_that_unpack_without_end_are_refused(tmp_path: Path) -> None:
    started = time.monotonic()
    _bomb(write_legacy(tmp_path / "S1", image=False) / "counts.tsv.gz")
    with pytest.raises(InputError, match=r"counts\.tsv\.gz: .*a line is longer than"):
        open_section(tmp_path / "S1")
    outs = write_outs(tmp_path / "S2", known())
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    write_mex(outs / "filtered_feature_bc_matrix", known())
    check(open_section(outs), known())
    for name in ("barcodes.tsv.gz", "matrix.mtx.gz"):
        file = outs / "filtered_feature_bc_matrix" / name
        whole = file.read_bytes()
        _bomb(file)
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            open_section(outs)
        file.write_bytes(whole)
    assert time.monotonic() - started < 60
    (tmp_path / "c.tsv.gz").write_bytes(gzip.compress(b"s\t1\n" * 2**22, 9) * 20)
    with opened_text(tmp_path / "c.tsv.gz") as file:
        with pytest.raises(InputError, match=r"c\.tsv\.gz: it unpacks to more than 250 times"):
            file.read()


@pytest.mark.parametrize("value", ["1e999", "1e308", "NaN", "1" + "0" * 400])
def test_regions_have_finite_coordinates(value: str, tmp_path: Path) -> None:
    ring = f"[[0, 0], [{value}, 0], [9, 9], [0, 0]]"
    text = f'{{"type": "Polygon", "coordinates": [{ring}]}}'
    (tmp_path / "r.geojson").write_text(text)
    with pytest.raises(InputError, match=r"r\.geojson: this GeoJSON cannot be read"):
        Region.read(tmp_path / "r.geojson")


def test_regions_in_pixels_are_refused_and_nowhere_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "r.geojson"
    area = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 2], [0, 0]]]}
    feature = {"type": "Feature", "geometry": area, "properties": None}
    nowhere = {**feature, "geometry": None}
    # As Windows' editors save it.
    text = json.dumps({"type": "FeatureCollection", "features": [nowhere, feature]})
    file.write_text(text, "utf-8-sig")
    assert Region.read(file).area.area == 4
    in_pixels = {"type": "FeatureCollection", "units": ["pixel", "pixel"], "features": [feature]}
    of_qupath = [{**feature, "properties": {"objectType": "annotation"}}]
    for content in (in_pixels, of_qupath, [{**feature, "id": "PathAnnotationObject"}]):
        file.write_text(json.dumps(content), "utf-8")
        with pytest.raises(InputError, match=r"r\.geojson: .*in pixels, and a region"):
            Region.read(file)
