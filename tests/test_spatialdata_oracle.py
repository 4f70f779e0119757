"""What spatialdata reads of what is written here, and the other way round: `tox -e spatialdata`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import napari_stenhance as st
from napari_stenhance.errors import InputError
from test_spatialdata import COUNTS, SHAPE, XY, make_section


@pytest.mark.parametrize("bins", [False, True])
def test_a_section_goes_through_spatialdata_and_comes_back(bins: bool, tmp_path: Path) -> None:
    sd = pytest.importorskip("spatialdata")
    section = make_section(tmp_path, bins=bins)
    out = st.export(section, to="spatialdata", out=tmp_path / "S1.sdata.zarr")
    sdata = sd.read_zarr(out)
    assert set(sdata.coordinate_systems) == {"global"}
    spots = section.need_spots()
    np.testing.assert_array_equal(sdata.tables["table"].X.toarray(), spots.X.toarray())
    um = sd.transform(sdata.shapes["spots"], to_coordinate_system="global").geometry.centroid
    # From the corner of the first pixel, half of which is a quarter of a micrometre.
    np.testing.assert_allclose(np.column_stack([um.x, um.y]), spots.obsm["spatial"] * 0.5 + 0.25)
    extent = sd.get_extent(sdata.images["image"])
    assert extent == {"x": (0.0, 210.0), "y": (0.0, 150.0)}
    pixels = section.need_slide().pixels[0][:, :]
    np.testing.assert_array_equal(sdata.images["image"].to_numpy(), np.moveaxis(pixels, -1, 0))
    sdata.write(tmp_path / "again.zarr")
    back = st.read(tmp_path / "again.zarr")
    assert list(back.need_spots().obs_names) == list(spots.obs_names)
    np.testing.assert_array_equal(back.need_spots().X.toarray(), spots.X.toarray())
    np.testing.assert_allclose(back.need_spots().obsm["spatial"], spots.obsm["spatial"])
    np.testing.assert_array_equal(back.need_slide().pixels[0][:, :], pixels)
    assert (back.mpp, back.geometry()) == (pytest.approx(0.5), section.geometry())


def test_a_store_that_spatialdata_wrote_is_read(tmp_path: Path) -> None:
    sd = pytest.importorskip("spatialdata")
    import anndata as ad
    from spatialdata.models import Image2DModel, ShapesModel, TableModel
    from spatialdata.transformations import Affine, Scale, Sequence, Translation

    pixels = np.random.default_rng(0).integers(0, 255, (3, *SHAPE), np.uint8)
    twice = Scale([2.0, 2.0], axes=("x", "y"))
    image = Image2DModel.parse(
        pixels, dims=("c", "y", "x"), c_coords=list("rgb"), transformations={"global": twice}
    )
    system = (XY + 0.5) * 2
    way = Sequence([Scale([4.0, 4.0], axes=("x", "y")), Translation([6.0, -2.0], axes=("x", "y"))])
    circles = ShapesModel.parse(
        (system - (6, -2)) / 4, geometry=0, radius=1.5, transformations={"global": way}
    )
    turned = Affine(
        np.array([[0, 2, 0], [2, 0, 1], [0, 0, 1]]), input_axes=("x", "y"), output_axes=("x", "y")
    )
    own = np.column_stack([(system[:, 1] - 1) / 2, system[:, 0] / 2])
    mirrored = ShapesModel.parse(own, geometry=0, radius=1.0, transformations={"global": turned})
    for name, shapes in (("spots", circles), ("mirrored", mirrored)):
        obs = pd.DataFrame({"region": pd.Categorical([name] * 5), "instance_id": range(5)})
        obs.index = [f"s{n}" for n in range(5)]
        table = ad.AnnData(COUNTS.astype(np.float32), obs, pd.DataFrame(index=list("ABC")))
        keys = {"region": name, "region_key": "region", "instance_key": "instance_id"}
        table = TableModel.parse(table, **keys)
        path = tmp_path / f"{name}.zarr"
        parts = {"images": {"he": image}, "shapes": {name: shapes}, "tables": {"table": table}}
        sd.SpatialData(**parts).write(path)
        section = st.read(path, mpp=0.5)
        np.testing.assert_allclose(section.need_spots().obsm["spatial"], XY)
        np.testing.assert_array_equal(np.asarray(section.need_spots().X), COUNTS)
        np.testing.assert_array_equal(
            section.need_slide().pixels[0][:, :], np.moveaxis(pixels, 0, -1)
        )


def test_a_run_is_a_spatialdata_object(here: Path) -> None:
    result = st.Result.open(next(here.glob("*.stenhance.zarr")))
    try:
        import spatialdata as sd
    except ImportError:
        with pytest.raises(InputError, match=r'pip install "napari-stenhance\[spatialdata\]"'):
            result.to_spatialdata("G3")
        return
    sdata = result.to_spatialdata("G3", at=here / "one.h5ad")
    image = sdata.images["image"]
    assert list(sd.models.get_channel_names(image)) == ["G3"]
    # One of several levels is a tree.
    finest = image if isinstance(image, xr.DataArray) else sd.get_pyramid_levels(image, n=0)
    shown = np.asarray(finest)
    np.testing.assert_allclose(shown[0], result["G3"].to_numpy(), equal_nan=True)
    assert sdata.tables["table"].n_obs == len(sdata.shapes["spots"])
