"""AnnData on disk, from 0.5 to today: HDF5 of every age, zarr 2 and 3."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any, Literal

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from numcodecs.vlen import VLenUTF8

from made_sections import write_image
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.cells import open_cells
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.checked_texts import check_texts
from test_cells import make_cells, make_spots


def write_old(path: Path, table: ad.AnnData, *, sparse: bool = True) -> Path:
    """Write as anndata did before 0.7: tables are records, categories lie in `uns`."""
    with h5py.File(path, "w") as file:
        if sparse:
            group = file.create_group("X")
            group.attrs["h5sparse_format"] = b"csr"
            group.attrs["h5sparse_shape"] = np.array(table.shape)
            counts = sp.csr_matrix(table.X)
            group["data"], group["indices"] = counts.data, counts.indices
            group["indptr"] = counts.indptr
        else:
            file["X"] = np.asarray(sp.csr_matrix(table.X).todense())
        for part, frame in (("obs", table.obs), ("var", table.var)):
            columns = {"index": frame.index.to_numpy().astype("S")}
            for name, column in frame.items():
                if isinstance(column.dtype, pd.CategoricalDtype):
                    columns[str(name)] = column.cat.codes.to_numpy()
                    file[f"uns/{name}_categories"] = column.cat.categories.to_numpy().astype("S")
                else:
                    kind = column.dtype if pd.api.types.is_numeric_dtype(column) else "S"
                    columns[str(name)] = column.to_numpy().astype(kind)
            records = np.zeros(len(frame), [(n, v.dtype) for n, v in columns.items()])
            for name, values in columns.items():
                records[name] = values
            file[part] = records
        if "spatial" in table.obsm:
            file["obsm"] = np.array(
                list(zip(table.obsm["spatial"], strict=True)), [("spatial", "f8", (2,))]
            )
        file["uns/microns_per_pixel"] = 0.5
    return path


def write_store(path: Path, table: ad.AnnData, version: Literal[2, 3]) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=version)
    with ad.settings.override(auto_shard_zarr_v3=False):
        ad.io.write_elem(group, "/", table)


def table() -> ad.AnnData:
    spots = make_spots(side=6)
    spots.obs["kind"] = pd.Categorical(["b", "a", "c"] * 12)
    spots.obs["words"] = ["é", "x"] * 18
    return spots


def check(path: Path) -> None:
    wanted = table()
    section = open_section(path)
    spots = section.need_spots()
    assert section.name == "s"
    assert section.mpp == 0.5
    assert list(spots.obs_names) == list(wanted.obs_names)
    assert list(spots.var_names) == list(wanted.var_names)
    np.testing.assert_array_equal(sp.csr_matrix(spots.X).toarray(), wanted.X.toarray())
    np.testing.assert_array_equal(spots.obsm["spatial"], wanted.obsm["spatial"])
    assert list(spots.obs["kind"]) == list(wanted.obs["kind"])


@pytest.mark.parametrize("sparse", [True, False])
def test_tables_of_before_anndata_07_open(sparse: bool, tmp_path: Path) -> None:
    old = table()
    del old.obs["words"]
    check(write_old(tmp_path / "s.h5ad", old, sparse=sparse))


def test_cells_of_before_anndata_07_open(tmp_path: Path) -> None:
    cells = make_cells(number=40)
    right = open_cells(cells, make_spots(side=4), "cluster").cells
    write_old(tmp_path / "cells.h5ad", cells)
    found = open_cells(tmp_path / "cells.h5ad", make_spots(side=4), "cluster").cells
    assert found.genes == right.genes
    assert found.groups == right.groups
    np.testing.assert_array_equal(found.counts.toarray(), right.counts.toarray())


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_is_a_section_with_the_image_beside_it(version: Literal[2, 3], tmp_path: Path) -> None:
    write_store(tmp_path / "s.zarr", table(), version)
    check(tmp_path / "s.zarr")
    assert get_reader(str(tmp_path / "s.zarr")) is not None
    write_image(tmp_path / "s_he.png", np.full((1200, 1250, 3), 200, np.uint8))
    spots = table()
    spots.obsm["spatial"] = spots.obsm["spatial"] + [0, 1100]
    shutil.rmtree(tmp_path / "s.zarr")
    write_store(tmp_path / "s.zarr", spots, version)
    assert open_section(tmp_path / "s.zarr").need_slide().path.name == "s_he.png"


def change(path: Path, **said: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))


def test_what_a_store_claims_is_doubted_before_it_is_read(tmp_path: Path) -> None:
    write_store(tmp_path / "whole.zarr", table(), 2)

    def refused(match: str) -> None:
        with pytest.raises(InputError, match=match) as said:
            open_section(tmp_path / "s.zarr")
        assert "s.zarr: this AnnData file cannot be read" in str(said.value)

    def anew() -> Path:
        shutil.rmtree(tmp_path / "s.zarr", ignore_errors=True)
        return Path(shutil.copytree(tmp_path / "whole.zarr", tmp_path / "s.zarr"))

    store = anew()
    change(texts(store / "obs" / "words") / ".zarray", filters=[{"id": "pickle", "protocol": 5}])
    refused(r"obs/words\S* is stored with pickle, which is not supported")
    store = anew()
    change(store / "obsm" / "spatial" / ".zarray", shape=[10**9, 2])
    refused(r"spatial claims \[1000000000, 2\] values, which \d+ bytes cannot hold")
    store = anew()
    change(store / "obsm" / "spatial" / ".zarray", chunks=[10**9, 2])
    refused(r"spatial claims \[36, 2\] values")
    store = anew()
    chunk = store / "X" / "data" / "0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    refused("X/data/0 is damaged: it claims")
    store = anew()
    (store / "varp" / "elsewhere").symlink_to(tmp_path / "whole.zarr" / "var")
    refused("varp/elsewhere is a link")


def texts(folder: Path) -> Path:
    """Return the array of a column of texts: since pandas 3 a mask may lie beside it."""
    return folder / "values" if (folder / "values").is_dir() else folder


def without_compression(folder: Path) -> Path:
    """Write texts so that their one chunk shows what it claims, and return that."""
    folder = texts(folder)
    array = zarr.open_array(folder, mode="r")
    content = VLenUTF8().encode(np.asarray(array[...]).astype(object))
    if array.metadata.zarr_format == 2:
        change(folder / ".zarray", compressor=None)
    else:
        change(folder / "zarr.json", codecs=[{"name": "vlen-utf8", "configuration": {}}])
    chunk = folder / array.metadata.encode_chunk_key((0,))
    chunk.write_bytes(content)
    return chunk


@pytest.mark.parametrize("version", [2, 3])
def test_the_number_of_texts_is_checked_before_room_is_made_for_them(
    version: Literal[2, 3], tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    write_store(store, table(), version)
    chunk = without_compression(store / "obs" / "words")
    check(store)
    content = chunk.read_bytes()
    for number in (3 * 10**7, 35, 0):
        chunk.write_bytes(number.to_bytes(4, "little") + content[4:])
        tracemalloc.start()
        with pytest.raises(InputError) as said:
            open_section(store)
        assert tracemalloc.get_traced_memory()[1] < 5e7
        tracemalloc.stop()
        where = texts(store / "obs" / "words").relative_to(store)
        claimed = f"{where} is damaged: a chunk claims {number} texts, and should hold 36"
        assert f"s.zarr: this AnnData file cannot be read ({claimed})" in str(said.value)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (np.dtypes.StringDType(), {"shards": (4,)}),
        ("variable_length_bytes", {}),
        (np.dtypes.StringDType(), {"zarr_format": 2}),
    ],
)
@pytest.mark.filterwarnings("ignore:The data type")
def test_texts_are_counted_wherever_they_stand(
    dtype: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    options = {"shape": (4,), "chunks": (2,), "compressors": None, "dtype": dtype, **options}
    array = zarr.create_array(tmp_path / "a", **options)
    kind = bytes if dtype == "variable_length_bytes" else str
    array[...] = np.array([kind(), *map(kind, [b"x", b"yz", b""])], object)
    if "zarr_format" in options:
        # What stands for the compressor is read as the last of the filters is.
        change(tmp_path / "a" / ".zarray", filters=None, compressor={"id": "vlen-utf8"})
        array = zarr.open_array(tmp_path / "a", mode="r")
    check_texts(array)
    chunk = next(f for f in sorted(tmp_path.rglob("*")) if f.name == "0" and f.is_file())
    content = chunk.read_bytes()
    for number in (3, 10**9):
        chunk.write_bytes(number.to_bytes(4, "little") + content[4:])
        with pytest.raises(ValueError, match=f"a chunk claims {number} texts, and should hold 2"):
            check_texts(array)
    if "shards" not in options:
        chunk.write_bytes(content[:8])
        with pytest.raises(ValueError, match="claims 2 texts, which 8 bytes cannot hold"):
            check_texts(array)
