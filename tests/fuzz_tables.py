"""What `fuzz.py` damages of counts and positions: every format of spots, cells, regions."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from fuzz_damage import Target
from hd_folders import write_cells, write_square
from napari_stenhance.errors import InputError
from napari_stenhance.section.cells import cluster_columns, open_cells
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.region import Region
from napari_stenhance.section.section import Section, open_section
from stereo_files import write_cells as write_cell_gef
from stereo_files import write_gef, write_gem
from test_anndata_layouts import write_old, write_store
from test_cells import make_cells, make_spots
from test_flat_files import (
    write_cosmx,
    write_curio,
    write_merscope,
    write_merscope_outlines,
    write_slide_seq,
)
from test_plain_tables import frame, write
from test_prefix import write_files
from test_section import write_legacy
from test_spatialdata import write_store as write_spatialdata
from visium_folders import known, write_factors, write_h5, write_mex, write_positions
from xenium_bundles import write_boundaries, write_bundle, write_transcripts

PLAIN = ("a.csv", "a.txt", "a.parquet")


def section_value(path: Path, sample: str | None = None) -> Any:
    """Open a section, see that its spots agree with themselves, and return all they say."""
    with warnings.catch_warnings(action="ignore"):
        section = open_section(path, mpp=0.5, sample=sample)
        drawn = outlines_value(section)
    return spots_value(section.need_spots()), section.mpp, drawn


def outlines_value(section: Section) -> Any:
    if section.outlines is None:
        return None
    outlines = section.outlines()
    assert list(outlines.ids) == list(section.need_spots().obs_names)
    assert (outlines.corners >= 0).all()
    assert outlines.first[[0, -1]].tolist() == [0, len(outlines.xy)]
    return outlines.first, outlines.xy


def spots_value(spots: ad.AnnData) -> Any:
    counts = dense(spots.X)
    assert counts.shape == spots.shape == (len(spots.obs), len(spots.var))
    assert counts.dtype.kind in "iuf"
    assert np.isfinite(counts).all()
    assert (counts >= 0).all()
    assert (counts <= 2**53).all()
    assert spots.obs_names.is_unique
    assert spots.var_names.is_unique
    xy = np.asarray(spots.obsm["spatial"])
    assert xy.shape[0] == len(spots.obs)
    assert np.isfinite(xy).all()
    return list(spots.obs_names), list(spots.var_names), counts.astype(np.float64), xy


def dense(counts: Any) -> Any:
    """Make a matrix dense, by nothing but its parts where it is sparse."""
    if not sp.issparse(counts):
        return np.asarray(counts)
    assert counts.format in ("csr", "csc")
    assert counts.indices.dtype.kind == counts.indptr.dtype.kind == "i"
    try:
        counts.check_format(full_check=True)
    except ValueError as error:
        raise AssertionError(error) from error
    return counts.toarray()


def _h5ad(store: Callable[[ad.AnnData], None], **options: Any) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        spots = make_spots(side=8)
        store(spots)
        spots.write_h5ad(folder / "s.h5ad", **options)
        return [folder / "s.h5ad"]

    return make


def _plain(spots: ad.AnnData) -> None:
    spots.obs["kind"] = pd.Categorical(["a", "b"] * (spots.n_obs // 2))


def _dense(spots: ad.AnnData) -> None:
    spots.X = spots.X.toarray()


def _columns(spots: ad.AnnData) -> None:
    spots.X = sp.csc_matrix(spots.X)


def _in_layer(spots: ad.AnnData) -> None:
    spots.layers["counts"] = spots.X.copy()
    spots.X = spots.X.log1p()


def _in_raw(spots: ad.AnnData) -> None:
    spots.raw = spots.copy()
    spots.X = spots.X.log1p()


def _read_h5ad(folder: Path) -> Any:
    return section_value(folder / "s.h5ad")


def _old_h5ad(folder: Path) -> list[Path]:
    return [write_old(folder / "s.h5ad", make_spots(side=8))]


def _zarr(version: Literal[2, 3]) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        write_store(folder / "s.zarr", make_spots(side=8), version)
        parts = ("X", "obs", "var", "obsm/spatial")
        files = (f for part in parts for f in sorted((folder / "s.zarr" / part).rglob("*")))
        return [file for file in files if file.is_file()]

    return make


def _read_zarr(folder: Path) -> Any:
    return section_value(folder / "s.zarr")


def _outs(matrix: Callable[[Path], list[Path]]) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        what = known()
        write_positions(folder / "spatial" / "tissue_positions.csv", what)
        write_factors(folder / "spatial" / "scalefactors_json.json")
        return matrix(folder)

    return make


def _tenx(folder: Path) -> list[Path]:
    path = folder / "filtered_feature_bc_matrix.h5"
    write_h5(path, known())
    return [path]


def _old_tenx(folder: Path) -> list[Path]:
    path = folder / "filtered_feature_bc_matrix.h5"
    write_h5(path, known(), legacy=True)
    return [path]


def _mtx(folder: Path) -> list[Path]:
    write_mex(folder, known(), gz=False)
    return [folder / name for name in ("matrix.mtx", "genes.tsv", "barcodes.tsv")]


def _mtx_gz(folder: Path) -> list[Path]:
    write_mex(folder / "filtered_feature_bc_matrix", known())
    return [_anew(file) for file in sorted((folder / "filtered_feature_bc_matrix").iterdir())]


def _beside(folder: Path) -> list[Path]:
    _tenx(folder)
    return [
        folder / "spatial" / name for name in ("tissue_positions.csv", "scalefactors_json.json")
    ]


def _hd(folder: Path) -> list[Path]:
    write_square(folder, 16)
    spatial = folder / "square_016um" / "spatial"
    return [spatial / name for name in ("tissue_positions.parquet", "scalefactors_json.json")]


def _hd_cells(folder: Path) -> list[Path]:
    write_cells(folder)
    return [folder / "segmented_outputs" / "cell_segmentations.geojson"]


def _xenium(folder: Path) -> list[Path]:
    write_boundaries(folder, write_bundle(folder))
    names = (
        "cells.parquet",
        "cell_boundaries.parquet",
        "experiment.xenium",
        "S1_he_imagealignment.csv",
    )
    return [folder / name for name in names]


def _xenium_first(folder: Path) -> list[Path]:
    write_boundaries(folder, write_bundle(folder, 1, he=False), 1)
    return [folder / "cells.csv.gz", folder / "cell_boundaries.csv.gz"]


def _transcripts(folder: Path) -> list[Path]:
    write_bundle(folder, he=False)
    write_transcripts(folder, "codewords")
    return [folder / "transcripts.parquet"]


def _read_transcripts(folder: Path) -> Any:
    return section_value(folder / "transcripts.parquet")


def _gef(folder: Path) -> list[Path]:
    write_gef(folder / "a.gef")
    return [folder / "a.gef"]


def _cell_gef(folder: Path) -> list[Path]:
    write_cell_gef(folder / "a.gef")
    return [folder / "a.gef"]


def _gem(folder: Path) -> list[Path]:
    write_gem(folder / "a.gem.gz")
    return [folder / "a.gem.gz"]


def _read_gef(folder: Path) -> Any:
    return section_value(folder / "a.gef")


def _read_gem(folder: Path) -> Any:
    return section_value(folder / "a.gem.gz")


def _cosmx(folder: Path) -> list[Path]:
    write_cosmx(folder, area=True)
    return sorted(folder.iterdir())


def _merscope(folder: Path) -> list[Path]:
    write_merscope(folder)
    write_merscope_outlines(folder)
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _beads(folder: Path) -> list[Path]:
    write_slide_seq(folder)
    return sorted(folder.iterdir())


def _curio(folder: Path) -> list[Path]:
    write_curio(folder)
    return sorted(folder.iterdir())


def _spatialdata(*others: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        write_spatialdata(folder / "s.zarr")
        files = [file for file in (folder / "s.zarr").rglob("*") if file.is_file()]
        return sorted(f for f in files if not set(others) & set(f.parts))

    return make


def _read_spatialdata(sample: str) -> Callable[[Path], Any]:
    return lambda folder: section_value(folder / "s.zarr", sample=sample)


def _table(name: str) -> tuple[Callable[[Path], list[Path]], Callable[[Path], Any]]:
    return lambda folder: [write(frame(), folder / name)], lambda folder: section_value(
        folder / name
    )


def _utf_16(folder: Path) -> list[Path]:
    path = write(frame(), folder / "a.txt")
    path.write_bytes(path.read_bytes().decode("utf-8-sig").encode("utf-16"))
    return [path]


def _read_utf_16(folder: Path) -> Any:
    return section_value(folder / "a.txt")


def _raw_tar(folder: Path) -> list[Path]:
    root = folder / "made"
    what = known()
    write_positions(root / "spatial" / "tissue_positions_list.csv", what, header=False)
    write_factors(root / "spatial" / "scalefactors_json.json")
    write_mex(root / "counts", what, prefix="GSM1_A_")
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        for file in sorted((root / "spatial").iterdir()):
            archive.addfile(_member(f"spatial/{file.name}", file.read_bytes()), file.open("rb"))
    packed = {f.name: _anew(f).read_bytes() for f in sorted((root / "counts").iterdir())}
    packed["GSM1_A_spatial.tar.gz"] = gzip.compress(inner.getvalue(), mtime=0)
    shutil.rmtree(root)
    with tarfile.open(folder / "GSE1_RAW.tar", "w") as archive:
        for name, content in packed.items():
            archive.addfile(_member(name, content), io.BytesIO(content))
    return [folder / "GSE1_RAW.tar"]


def _member(name: str, content: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member


def _read_raw_tar(folder: Path) -> Any:
    value = section_value(folder / "GSE1_RAW.tar")
    assert sorted(file.name for file in folder.iterdir()) == ["GSE1_RAW.tar"]
    return value


def _anew(path: Path) -> Path:
    """Write a gzip file without the time."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), mtime=0))
    return path


def _legacy(folder: Path) -> list[Path]:
    write_legacy(folder / "S1", image=False)
    labels = ["x\ty\tlabel", *(f"{x}\t{y}\tinvasive" for x in range(2, 6) for y in range(3, 6))]
    (folder / "S1" / "labels.tsv").write_text("\n".join(labels) + "\n")
    _anew(folder / "S1" / "counts.tsv.gz")
    return [folder / "S1" / name for name in ("counts.tsv.gz", "selection.tsv", "labels.tsv")]


def _prefix(folder: Path) -> list[Path]:
    write_files(folder / "S1", image="")
    return sorted((folder / "S1").iterdir())


def _prefix_parquet(folder: Path) -> list[Path]:
    write_files(folder / "S1", image="")
    made = []
    for name in ("cnts", "locs-raw"):
        text = folder / "S1" / f"{name}.tsv"
        pd.read_csv(text, sep="\t", index_col=0).to_parquet(text.with_suffix(".parquet"))
        text.unlink()
        made.append(text.with_suffix(".parquet"))
    return made


def _read_s1(folder: Path) -> Any:
    return section_value(folder / "S1")


def _cells(store: Callable[[ad.AnnData], None]) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        cells = make_cells(number=40)
        store(cells)
        cells.write_h5ad(folder / "cells.h5ad")
        return [folder / "cells.h5ad"]

    return make


def _read_cells(folder: Path) -> Any:
    path = folder / "cells.h5ad"
    cells = open_cells(path, make_spots(side=4)).cells
    values = dense(cells.counts)
    assert values.shape[1] == len(cells.genes) == len(set(cells.genes))
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (values == np.rint(values)).all()
    assert values.sum(axis=1).all()
    group = None if cells.group is None else cells.group.tolist()
    if group is not None:
        assert len(group) == len(values)
        assert 0 <= min(group) <= max(group) < len(cells.groups)
    return list(cells.genes), values, list(cells.groups), group


def _read_columns(folder: Path) -> Any:
    columns = cluster_columns(folder / "cells.h5ad")
    if not columns:
        raise InputError("There are no columns.")
    return columns


def _region(folder: Path) -> list[Path]:
    ring = [[10.5, 10], [90, 12.25], [80, 95], [10.5, 10]]
    hole = [[40, 40], [50, 40], [50, 50], [40, 40]]
    shapes = [
        {"type": "Polygon", "coordinates": [ring, hole]},
        {"type": "MultiPolygon", "coordinates": [[[[200, 200], [220, 200], [210, 230]]]]},
    ]
    shapes[1]["coordinates"][0][0].append([200, 200])
    features = [{"type": "Feature", "properties": {"name": "a"}, "geometry": s} for s in shapes]
    content = {"type": "FeatureCollection", "features": features}
    (folder / "r.geojson").write_text(json.dumps(content))
    return [folder / "r.geojson"]


def _read_region(folder: Path) -> Any:
    region = Region.read(folder / "r.geojson")
    assert np.isfinite(region.area.area)
    assert region.area.area > 0
    mask = region.mask(Grid(8.0, (40, 40), 0.5))
    return region.to_json(), mask


TARGETS = (
    *(
        Target(f"h5ad-{name}", _h5ad(store, **options), _read_h5ad, cases=50)
        for name, store, options in (
            ("csr", _plain, {}),
            ("csc", _columns, {}),
            ("dense", _dense, {}),
            ("layer", _in_layer, {}),
            ("raw", _in_raw, {}),
            ("gzip", _plain, {"compression": "gzip"}),
        )
    ),
    Target("h5ad-old", _old_h5ad, _read_h5ad, cases=25),
    Target("anndata-zarr-2", _zarr(2), _read_zarr, cases=50),
    Target("anndata-zarr-3", _zarr(3), _read_zarr, cases=50),
    Target("10x-h5", _outs(_tenx), section_value, cases=150),
    Target("10x-h5-old", _outs(_old_tenx), section_value, cases=150),
    Target("10x-mtx", _outs(_mtx), section_value, cases=150),
    Target("10x-mtx-gz", _outs(_mtx_gz), section_value, cases=150),
    Target("raw-tar", _raw_tar, _read_raw_tar, cases=75),
    Target("visium-tables", _outs(_beside), section_value),
    Target("visium-hd", _hd, section_value, cases=200),
    Target("visium-hd-cells", _hd_cells, section_value, cases=100),
    Target("xenium", _xenium, section_value, cases=150),
    Target("xenium-1", _xenium_first, section_value, cases=50),
    Target("xenium-transcripts", _transcripts, _read_transcripts, cases=100),
    Target("stereo-gef", _gef, _read_gef, cases=100),
    Target("stereo-cells", _cell_gef, _read_gef, cases=100),
    Target("stereo-gem", _gem, _read_gem, cases=100),
    Target("cosmx", _cosmx, section_value),
    Target("merscope", _merscope, section_value),
    Target("slide-seq", _beads, section_value, cases=200),
    Target("curio", _curio, section_value, cases=100),
    Target(
        "spatialdata",
        _spatialdata("cells", "cells_table", "dapi"),
        _read_spatialdata("spots"),
        cases=200,
    ),
    # With outlines.
    Target(
        "spatialdata-cells",
        _spatialdata("spots", "spots_table", "dapi", "he"),
        _read_spatialdata("cells"),
        cases=100,
    ),
    *(Target(f"plain-{name[2:]}", *_table(name), cases=75) for name in PLAIN),
    Target("plain-utf-16", _utf_16, _read_utf_16, cases=75),
    Target("legacy-st", _legacy, _read_s1),
    Target("prefix", _prefix, _read_s1),
    Target("prefix-parquet", _prefix_parquet, _read_s1),
    *(
        Target(f"cells-{name}", _cells(store), _read_cells, cases=75)
        for name, store in (
            ("csr", lambda cells: None),
            ("csc", _columns),
            ("dense", _dense),
            ("raw", _in_raw),
        )
    ),
    Target("cells-columns", _cells(lambda cells: None), _read_columns, cases=50),
    Target("region", _region, _read_region),
)
