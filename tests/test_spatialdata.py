"""SpatialData stores: read as others write them, and written so that they come back the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import shapely
import zarr
from PIL import Image

import napari_stenhance as st
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.section import Section, open_section

SHAPE = (60, 80)
XY = np.array([[10.0, 12], [37, 15], [13, 36], [30.5, 53], [65, 40]])
COUNTS = np.array([[1, 0, 2], [0, 5, 0], [3, 3, 3], [0, 0, 7], [1, 1, 1]])


def _system(name: str, axes: str, unit: str = "unit") -> dict[str, Any]:
    listed = [{"name": n, "type": "channel" if n == "c" else "space"} for n in axes]
    return {"name": name, "axes": [{**a, "unit": unit} if a["name"] != "c" else a for a in listed]}


def _way(axes: str, kind: str, *, to: str = "global", unit: str = "unit", **how: Any) -> dict:
    return {"type": kind, **how, "input": _system(axes, axes), "output": _system(to, axes, unit)}


def write_store(path: Path, *, unit: str = "unit", version: int = 3) -> None:
    """Write what spatialdata 0.8 does: circles and cells on an image, a table of each."""
    root = zarr.open_group(path, mode="w", zarr_format=version)
    root.attrs["spatialdata_attrs"] = {"version": "0.2", "spatialdata_software_version": "0.8.0"}
    rng = np.random.default_rng(1)
    # Of an image, two pixels of the system's are one; a stain that is larger is no slide.
    for name, channels, factor in (("he", 3, 1), ("dapi", 1, 2)):
        group = root.create_group(f"images/{name}")
        pixels = rng.integers(0, 255, (channels, factor * SHAPE[0], factor * SHAPE[1]), np.uint8)
        array = group.create_array("s0", shape=pixels.shape, dtype="uint8", chunks=(1, 64, 64))
        array[:] = pixels
        scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
        shift = [{"type": "translation", "translation": [0.0, 0.0, 0.0]}]
        one = {
            "axes": [
                {"name": "c", "type": "channel"},
                *({"name": n, "type": "space"} for n in "yx"),
            ],
            "datasets": [{"path": "s0", "coordinateTransformations": [*scale, *shift]}],
            "coordinateTransformations": [
                _way("cyx", "identity", to="own"),
                _way("cyx", "scale", scale=[1.0, 2.0, 2.0], unit=unit),
            ],
        }
        labels = [{"label": label} for label in (("r", "g", "b") if channels == 3 else ("DAPI",))]
        ome = {"multiscales": [one], "omero": {"channels": labels}}
        if version == 3:
            group.attrs["ome"] = {"version": "0.5-dev-spatialdata", **ome}
        else:
            one["version"] = "0.4-dev-spatialdata"
            group.attrs.update(ome)
        group.attrs["spatialdata_attrs"] = {"version": "0.3"}
    # Positions in pixels of the slide, from its corner: through a sequence, and mirrored.
    system = (XY + 0.5) * 2
    parts = [
        _way("xy", "scale", scale=[4.0, 4.0]),
        _way("xy", "translation", translation=[6.0, -2.0]),
    ]
    circles = (system - (6, -2)) / 4
    _write_shapes(
        root,
        path,
        "spots",
        shapely.points(circles),
        [_way("xy", "sequence", transformations=parts)],
        1.5,
    )
    mirrored = _way("xy", "affine", affine=[[0.0, 2.0, 0.0], [2.0, 0.0, 1.0]])
    own = np.column_stack([(system[:, 1] - 1) / 2, system[:, 0] / 2])
    boxes = shapely.box(*(own - (1, 2)).T, *(own + (1, 2)).T)
    _write_shapes(root, path, "cells", boxes, [mirrored], None)


def _write_shapes(
    root: zarr.Group, path: Path, name: str, shapes: Any, ways: list[dict], radius: float | None
) -> None:
    group = root.create_group(f"shapes/{name}")
    group.attrs.update({"axes": ["x", "y"], "coordinateTransformations": ways})
    # In another order than the table.
    frame = pd.DataFrame({"geometry": shapely.to_wkb(shapes)}, index=np.arange(10, 15))[::-1]
    if radius is not None:
        frame["radius"] = radius
    frame.to_parquet(path / "shapes" / name / "shapes.parquet")
    obs = pd.DataFrame({"region": pd.Categorical([name] * 5), "instance_id": np.arange(10, 15)})
    obs.index = [f"{name}{n}" for n in range(5)]
    table = ad.AnnData(
        sp.csr_matrix(COUNTS.astype(np.float32)), obs, pd.DataFrame(index=list("ABC"))
    )
    root.require_group("tables")
    with ad.settings.override(auto_shard_zarr_v3=False):
        ad.io.write_elem(root["tables"], f"{name}_table", table)
    keys = {"region": name, "region_key": "region", "instance_key": "instance_id"}
    root[f"tables/{name}_table"].attrs.update(keys)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("which", ["spots", "cells"])
def test_what_a_table_annotates_lies_on_the_image(which: str, version: int, tmp_path: Path) -> None:
    write_store(tmp_path / "S1.zarr", version=version)
    with pytest.raises(InputError, match="several samples, told apart by the element"):
        open_section(tmp_path / "S1.zarr")
    section = open_section(tmp_path / "S1.zarr", sample=which, mpp=0.5)
    assert section.name == f"S1-{which}"
    spots = section.need_spots()
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)
    assert list(spots.obs_names) == [f"{which}{n}" for n in range(5)]
    np.testing.assert_allclose(spots.obsm["spatial"], XY, rtol=0, atol=1e-9)
    assert section.slide is not None
    assert section.slide.path.name == "he"
    assert section.slide.shape == SHAPE
    # A radius of 1.5 units, of which a pixel is half of one: 2 · 1.5 · 4 / 2 px.
    width = 6.0 if which == "spots" else np.sqrt(8 * 4 / np.pi)
    assert section.geometry().spot_diameter_um == pytest.approx(width * 0.5)
    assert (section.outlines is None) == (which == "spots")
    if section.outlines is not None:
        # Boxes of 2 × 4 units are 4 × 2 px when they are mirrored.
        ring = section.outlines().xy.reshape(5, 5, 2) - XY[:, None]
        np.testing.assert_allclose(np.abs(ring), np.tile((2, 1), (5, 5, 1)), atol=1e-4)
    assert get_reader(str(tmp_path / "S1.zarr")) is not None


def test_a_system_in_micrometres_is_the_scale(tmp_path: Path) -> None:
    write_store(tmp_path / "S1.zarr", unit="micrometer")
    section = open_section(tmp_path / "S1.zarr", sample="spots")
    assert section.mpp == 2.0
    np.testing.assert_allclose(section.need_spots().obsm["spatial"], XY, rtol=0, atol=1e-9)


def test_circles_of_the_first_version_are_arrays(tmp_path: Path) -> None:
    write_store(tmp_path / "S1.zarr", version=2)
    path = tmp_path / "S1.zarr" / "shapes" / "spots"
    frame = pd.read_parquet(path / "shapes.parquet")
    (path / "shapes.parquet").unlink()
    group = zarr.open_group(path, mode="r+")
    centres = shapely.from_wkb(frame["geometry"].to_numpy())
    parts = {"coords": shapely.get_coordinates(centres), "Index": frame.index.to_numpy()}
    for name, values in {**parts, "radius": frame["radius"].to_numpy()}.items():
        group.create_array(name, data=values)
    section = open_section(tmp_path / "S1.zarr", sample="spots", mpp=0.5)
    np.testing.assert_allclose(section.need_spots().obsm["spatial"], XY, rtol=0, atol=1e-9)
    assert section.geometry().spot_diameter_um == pytest.approx(3.0)
    del group["radius"]
    with pytest.raises(InputError, match="polygons of the first version of SpatialData are not"):
        open_section(tmp_path / "S1.zarr", sample="spots", mpp=0.5)


def test_rows_without_a_shape_are_left_out_and_counted(tmp_path: Path) -> None:
    write_store(tmp_path / "S1.zarr")
    path = tmp_path / "S1.zarr" / "shapes" / "spots" / "shapes.parquet"
    pd.read_parquet(path).drop(index=[11]).to_parquet(path)
    section = open_section(tmp_path / "S1.zarr", sample="spots")
    np.testing.assert_array_equal(section.need_spots().X.toarray(), COUNTS[[0, 2, 3, 4]])
    assert "1 of 5 rows has no shape and was left out." in section.doubts
    path = tmp_path / "S1.zarr" / "shapes" / "cells" / "shapes.parquet"
    whole = pd.read_parquet(path)
    nowhere = [shapely.to_wkb(shapely.Polygon()), None, *whole["geometry"][2:]]
    whole.assign(geometry=nowhere).to_parquet(path)
    section = open_section(tmp_path / "S1.zarr", sample="cells", mpp=0.5)
    spots = section.need_spots()
    assert list(spots.obs_names) == list(section.outlines().ids) == ["cells0", "cells1", "cells2"]
    np.testing.assert_allclose(spots.obsm["spatial"], XY[:3], rtol=0, atol=1e-9)
    assert "2 of 5 rows have no shape and were left out." in section.doubts
    for none in (whole[:0], whole.assign(geometry=nowhere[:2] * 2 + nowhere[:1])):
        none.to_parquet(path)
        with pytest.raises(InputError, match="element that the table annotates holds no shapes"):
            open_section(tmp_path / "S1.zarr", sample="cells", mpp=0.5)
    path.unlink()
    with pytest.raises(InputError, match=r"there is no shapes\.parquet in it"):
        open_section(tmp_path / "S1.zarr", sample="cells", mpp=0.5)


def test_what_cannot_be_placed_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "S1.zarr"
    write_store(path)
    attributes = path / "shapes" / "spots" / "zarr.json"
    said = json.loads(attributes.read_text())
    said["attributes"]["coordinateTransformations"][0]["type"] = "displacements"
    attributes.write_text(json.dumps(said))
    with pytest.raises(InputError, match="placed by 'displacements', which is not supported"):
        open_section(path, sample="spots")
    attributes = path / "shapes" / "cells" / "zarr.json"
    said = json.loads(attributes.read_text())
    said["attributes"]["coordinateTransformations"][0]["affine"][0][2] = 1e300
    attributes.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"cells_table: spot cells0 lies at \(5e\+299, "):
        open_section(path, sample="cells", mpp=0.5)
    for file in (path / "tables" / "cells_table" / "X" / "data").glob("c/*"):
        file.write_bytes(b"\0")
    with pytest.raises(InputError, match="this table cannot be read"):
        open_section(path, sample="cells")


def make_section(tmp_path: Path, *, bins: bool) -> Section:
    rng = np.random.default_rng(2)
    side = 16 if bins else 60
    xy = np.stack(np.meshgrid(np.arange(6), np.arange(5)), -1).reshape(-1, 2) * side + 40.25
    table = ad.AnnData(
        sp.csr_matrix(rng.poisson(2.0, (30, 4)).astype(np.float32)),
        obs=pd.DataFrame({"kind": ["a", "b"] * 15}, index=[f"s{n}" for n in range(30)]),
        var=pd.DataFrame({"gene_id": list("WXYZ")}, index=list("ABCD")),
        obsm={"spatial": xy},
    )
    Image.fromarray(rng.integers(90, 255, (300, 420, 3), np.uint8)).save(tmp_path / "he.png")
    return st.read(table, image=tmp_path / "he.png", mpp=0.5)


@pytest.mark.parametrize("bins", [False, True])
def test_a_section_that_is_written_comes_back_the_same(bins: bool, tmp_path: Path) -> None:
    section = make_section(tmp_path, bins=bins)
    out = st.export(section, to="spatialdata", out=tmp_path / "S1.sdata.zarr")
    back = open_section(out)
    spots, there = section.need_spots(), back.need_spots()
    assert list(there.obs_names) == list(spots.obs_names)
    assert list(there.obs["kind"]) == list(spots.obs["kind"])
    pd.testing.assert_frame_equal(there.var, spots.var)
    np.testing.assert_array_equal(there.X.toarray(), spots.X.toarray())
    np.testing.assert_allclose(there.obsm["spatial"], spots.obsm["spatial"], rtol=0, atol=1e-9)
    assert back.mpp == pytest.approx(0.5)
    assert back.geometry() == section.geometry()
    assert section.geometry().spot_shape == ("square" if bins else "disc")
    one, two = (each.need_slide().pixels[0][:, :] for each in (section, back))
    np.testing.assert_array_equal(one, two)
    assert "region" not in spots.obs
    with pytest.raises(InputError, match=r"S1\.sdata\.zarr"):
        st.export(section, to="spatialdata", out=out)


def test_genes_and_spots_of_a_run_are_written(here: Path) -> None:
    result = next(here.glob("*.stenhance.zarr"))
    gene = "G3"
    out = st.export(
        result, to="spatialdata", genes=gene, at_spots=here / "one.h5ad", out=here / "r.sdata.zarr"
    )
    root = zarr.open_group(out, mode="r")
    ome = dict(root["images/image"].attrs)["ome"]
    assert [c["label"] for c in ome["omero"]["channels"]] == [gene]
    image = root["images/image/s0"][0]
    assert np.isfinite(image).any()
    placed = open_section(out)
    same = open_section(here / "one.h5ad").need_spots()
    np.testing.assert_allclose(
        placed.need_spots().obsm["spatial"], same.obsm["spatial"], rtol=0, atol=1e-6
    )
    with pytest.raises(InputError, match="needs genes, whose images are written, or spots"):
        st.export(result, to="spatialdata", out=here / "s.sdata.zarr")
    # Of genes alone there is no slide to give, nor a table.
    out = st.export(result, to="spatialdata", genes=gene, out=here / "g.sdata.zarr")
    said = r"without a table, and none of its images \(image\) is a slide.*; give the slide,"
    with pytest.raises(InputError, match=said):
        open_section(out)


def test_cells_that_are_labels_lie_where_their_table_says(tmp_path: Path) -> None:
    path = tmp_path / "S1.zarr"
    write_store(path)
    root = zarr.open_group(path)
    ways = [_way("yx", "scale", scale=[4.0, 4.0])]
    axes = [{"name": n, "type": "space"} for n in "yx"]
    one = {"axes": axes, "datasets": [], "coordinateTransformations": ways}
    root.create_group("labels/mask").attrs["ome"] = {"multiscales": [one]}
    table = root["tables/cells_table"]
    table.attrs["region"] = "mask"
    with ad.settings.override(auto_shard_zarr_v3=False):
        ad.io.write_elem(table["obs"], "region", pd.Categorical(["mask"] * 5))
    with pytest.raises(
        InputError, match="labels mask, and does not say where they lie; write their"
    ):
        open_section(path, sample="mask")
    # In pixels of the labels, twice as wide as those of the image.
    with ad.settings.override(auto_shard_zarr_v3=False):
        ad.io.write_elem(table["obsm"], "spatial", (XY + 0.5) / 2 - 0.5)
    section = open_section(path, sample="mask", mpp=0.5)
    np.testing.assert_allclose(section.need_spots().obsm["spatial"], XY, rtol=0, atol=1e-9)
    assert any("Cells are the labels mask: their positions" in doubt for doubt in section.doubts)
