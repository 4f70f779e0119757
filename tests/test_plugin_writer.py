from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import ome_zarr_models.v05 as ome
import pandas as pd
import pytest
import shapely
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.utils.colormaps import Colormap

from napari_stenhance.errors import InputError
from napari_stenhance.plugin import pixels
from napari_stenhance.plugin.saved import is_saved, open_saved
from napari_stenhance.plugin.writer import write_layers
from napari_stenhance.storage.pyramid import majority_pool, mean_pool

UM = {"units": "micrometer", "axis_labels": ("y", "x")}
PLACE = {"scale": (0.1, 0.3), "translate": (1 / 3, -2 / 7), **UM}
SAME = (
    *("name", "units", "axis_labels", "opacity", "blending", "visible"),
    *("rgb", "multiscale", "contrast_limits", "gamma", "interpolation2d"),
    *("antialiasing", "border_width_is_relative", "shape_type"),
)
EQUAL = (
    *("scale", "translate", "rotate", "shear", "size", "symbol", "border_width", "shown"),
    *("face_color", "edge_color", "border_color", "edge_width", "z_index"),
)


def save(path: Path, *layers: Layer) -> Path:
    assert write_layers(str(path), [layer.as_layer_data_tuple() for layer in layers]) == [str(path)]
    return path


def saved_layers(path: Path) -> list[tuple[Any, dict[str, Any], str]]:
    """Open layers of which none is linked."""
    return [(one.data, one.attributes, one.kind) for one in open_saved(path).layers]


def reopen(path: Path) -> list[Layer]:
    viewer = ViewerModel()
    for data, attributes, kind in saved_layers(path):
        viewer.add_layer(Layer.create(data, attributes, kind))
    return list(viewer.layers)


def assert_same(before: Layer, after: Layer) -> None:
    assert type(before) is type(after)
    _, one, _ = before.as_layer_data_tuple()
    _, two, _ = after.as_layer_data_tuple()
    for key in SAME:
        if key in one:
            assert one[key] == two[key], key
    for key in EQUAL:
        if key in one:
            np.testing.assert_array_equal(one[key], two[key], err_msg=key)
    np.testing.assert_array_equal(one["affine"], two["affine"])
    for corner in ((0, 0), (17, 31.5)):
        np.testing.assert_array_equal(before.data_to_world(corner), after.data_to_world(corner))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _slide(rng: np.random.Generator) -> Image:
    full = rng.integers(0, 255, (1300, 700, 3), dtype="u1")
    levels = [da.from_array(full, chunks=(300, 300, 3)), full[::2, ::2], full[::4, ::4]]
    return Image(levels, rgb=True, multiscale=True, name="HE", metadata={"live": object()}, **PLACE)


def test_a_slide_keeps_every_level(rng: np.random.Generator, tmp_path: Path) -> None:
    before = _slide(rng)
    [after] = reopen(save(tmp_path / "s.zarr", before))
    assert_same(before, after)
    assert after.metadata == {}
    assert [level.shape for level in after.data] == [(1300, 700, 3), (650, 350, 3), (325, 175, 3)]
    for one, two in zip(before.data, after.data, strict=True):
        assert isinstance(two, da.Array)
        np.testing.assert_array_equal(one, two)
    group = zarr.open_group(tmp_path / "s.zarr" / "images" / "HE", mode="r")
    assert group["s0"].chunks == (3, 512, 512)
    [multiscale] = ome.Image.from_zarr(group).ome_attributes.multiscales
    assert [(a.name, a.type, a.unit) for a in multiscale.axes] == [
        ("c", "channel", None),
        ("y", "space", "micrometer"),
        ("x", "space", "micrometer"),
    ]
    for n, dataset in enumerate(multiscale.datasets):
        scale, translation = dataset.coordinateTransformations
        factor = 2**n
        assert scale.scale == [1, 0.1 * factor, 0.3 * factor]
        assert translation.translation == [
            0,
            1 / 3 + 0.1 * (factor - 1) / 2,
            -2 / 7 + 0.3 * (factor - 1) / 2,
        ]


def test_a_large_image_gets_coarse_levels_and_reopens_as_it_was(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    values = rng.standard_normal((1301, 900)).astype("f4")
    values[:600, :300] = np.nan
    before = Image(
        zarr.array(values),
        name="ERBB2",
        colormap="magma",
        contrast_limits=(0.1, 2.3),
        gamma=0.7,
        opacity=0.4,
        blending="additive",
        visible=False,
        interpolation2d="linear",
        **PLACE,
    )
    [after] = reopen(save(tmp_path / "s.zarr", before))
    assert_same(before, after)
    assert after.colormap.name == "magma"
    np.testing.assert_array_equal(values, after.data)
    group = zarr.open_group(tmp_path / "s.zarr" / "images" / "ERBB2", mode="r")
    np.testing.assert_array_equal(group["s1"][...], mean_pool(values))
    [multiscale] = ome.Image.from_zarr(group).ome_attributes.multiscales
    assert multiscale.datasets[1].coordinateTransformations[0].scale == [0.2, 0.6]


@pytest.mark.parametrize("dtype", [">u2", "int64", "bool", "f8"])
def test_coarse_levels_of_any_type(
    rng: np.random.Generator, tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "LARGE", 16)
    values = rng.integers(0, 2 if dtype == "bool" else 2**15, (21, 33)).astype(dtype)
    if dtype == "int64":
        values[0, 0] = 2**63 - 1
    save(tmp_path / "s.zarr", Image(values, contrast_limits=(0, 1), name="i"))
    [(data, _, _)] = saved_layers(tmp_path / "s.zarr")
    np.testing.assert_array_equal(values, data)
    assert data.dtype == np.dtype(dtype).newbyteorder("=")
    coarse = zarr.open_group(tmp_path / "s.zarr", mode="r")["images/i/s1"]
    assert coarse.shape == (11, 17)
    pooled = majority_pool(values) if dtype == "int64" else mean_pool(values)
    np.testing.assert_allclose(coarse[...].astype("f8"), pooled, atol=0.5)


def test_what_is_turned_and_has_colours_of_its_own(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    turned = {"rotate": 30, "shear": [0.2], "affine": [[1, 0.1, 3], [0, 1.2, 4], [0, 0, 1]]}
    own = Colormap(
        [[0, 0, 0, 1], [0.2, 1, 0.3, 0.5], [1, 0, 0, 1]], name="mine", controls=[0, 0.3, 1]
    )
    before = Image(rng.random((8, 9)), colormap=own, **turned, **PLACE)
    path = save(tmp_path / "s.zarr", before)
    [after] = reopen(path)
    assert_same(before, after)
    assert after.colormap.same_colors(own)
    text = json.loads((path / "zarr.json").read_text())
    assert (
        text["attributes"]["stenhance_layers"]["layers"][0]["display"]["colormap"]["name"] == "mine"
    )


def test_labels_with_names_and_colours(rng: np.random.Generator, tmp_path: Path) -> None:
    values = rng.integers(0, 3, (64, 48), dtype="u2")
    domains = Labels(
        [values, values[::2, ::2]],
        multiscale=True,
        name="domains",
        colormap={None: "transparent", 0: "transparent", 1: "red", 2: (0, 0.5, 1, 1)},
        features=pd.DataFrame({"index": [1, 2, 7], "domain": ["tumour", None, "fat"]}),
        **PLACE,
    )
    drawn = Labels(rng.integers(0, 99, (1100, 20)), name="drawn", **UM)
    drawn.new_colormap(3)
    plain = Labels(np.zeros((4, 4), bool), name="plain", **UM)
    path = save(tmp_path / "s.zarr", domains, drawn, plain)
    for before, after in zip((domains, drawn, plain), reopen(path), strict=True):
        assert_same(before, after)
        for n in range(len(before.data) if before.multiscale else 1):
            one, two = ((d.data[n] if before.multiscale else d.data) for d in (before, after))
            np.testing.assert_array_equal(one, two)
            assert one.dtype == two.dtype
        for label in (0, 1, 2, 5, 98):
            np.testing.assert_array_equal(before.get_color(label), after.get_color(label))
        pd.testing.assert_frame_equal(before.features, after.features, check_index_type=False)
        assert before.editable == after.editable
    group = zarr.open_group(path, mode="r")
    assert ome.Labels.from_zarr(group["labels"]).label_paths == ["domains", "drawn", "plain"]
    about = ome.ImageLabel.from_zarr(group["labels/domains"]).ome_attributes.image_label
    assert [c.label_value for c in about.colors] == [0, 1, 2, 7]
    assert about.colors[2].rgba == (0, 128, 255, 255)
    assert about.properties[1].domain == "tumour"
    np.testing.assert_array_equal(group["labels/drawn/s1"][...], majority_pool(drawn.data))


def test_points_with_colours_and_features(rng: np.random.Generator, tmp_path: Path) -> None:
    features = pd.DataFrame(
        {
            "barcode": list("abcde"),
            "a/b": range(5),
            "_index": [0.5, np.nan, 1, 2, 3],
            "cluster": pd.Categorical(["u", "v", None, "u", "u"]),
            "in": [True, False, True, True, False],
        }
    )
    spots = Points(
        rng.random((5, 2)),
        features=features,
        face_color=rng.random((5, 4)).astype("f4"),
        size=2.5,
        symbol="square",
        border_width=0,
        name="spots",
        **PLACE,
    )
    mixed = Points(
        rng.random((3, 2)),
        features={"text": np.array(["x", None, "y"], dtype=object)},
        size=[1, 2, 3],
        symbol=["disc", "star", "disc"],
        shown=[True, False, True],
        name="mixed",
        **UM,
    )
    empty = Points(ndim=2, name="empty", **UM)
    path = save(tmp_path / "s.zarr", spots, mixed, empty)
    after = reopen(path)
    for one, two in zip((spots, mixed), after[:2], strict=True):
        assert_same(one, two)
        np.testing.assert_array_equal(one.data, two.data)
    assert len(after[2].data) == 0
    assert after[2].units == spots.units
    pd.testing.assert_frame_equal(spots.features, after[0].features, check_index_type=False)
    assert after[1].features["text"].tolist()[::2] == ["x", "y"]
    assert after[1].features["text"].isna().tolist() == [False, True, False]
    table = ad.io.read_elem(zarr.open_group(path, mode="r")["tables/spots"])
    np.testing.assert_array_equal(table.obsm["spatial"], spots.data[:, ::-1])
    assert table.obsm["face_color"].dtype == np.float32
    assert not list(path.rglob(".z*")), "part of the table is in zarr v2"


def _shapes(name: str = "regions") -> Shapes:
    return Shapes(
        [
            np.array([[0, 0], [0, 10], [7, 3.3]]),
            np.array([[0, 0], [10, 20]]),
            np.array([[0, 0], [10, 20]]),
            np.array([[1, 2], [3, 4]]),
            np.array([[1, 2], [3, 4], [5, 1]]),
        ],
        shape_type=["polygon", "rectangle", "ellipse", "line", "path"],
        edge_color=["red", "blue", "#00c8ff", (0.1, 0.2, 0.3, 0.4), "white"],
        face_color="transparent",
        edge_width=[1, 2, 3, 4, 5.5],
        features={"name": ["a", "b", None, "d", "e"], "n": [1, 2, 3, 4, 5]},
        name=name,
        rotate=20,
        **PLACE,
    )


def test_shapes_of_every_kind(tmp_path: Path) -> None:
    before = _shapes()
    empty = Shapes(ndim=2, edge_color="#00c8ff", name="empty", **UM)
    path = save(tmp_path / "s.zarr", before, empty)
    after, none = reopen(path)
    assert_same(before, after)
    for one, two in zip(before.data, after.data, strict=True):
        np.testing.assert_array_equal(one, two)
    assert after.features["name"].tolist() == before.features["name"].tolist()
    assert len(none.data) == 0
    assert none.current_edge_color == empty.current_edge_color
    content = json.loads((path / "files" / "shapes" / "regions.geojson").read_text())
    drawn = [shapely.geometry.shape(feature["geometry"]) for feature in content["features"]]
    assert [d.geom_type for d in drawn] == ["Polygon"] * 3 + ["LineString"] * 2
    for shape, vertices in zip((drawn[0], drawn[4]), (before.data[0], before.data[4]), strict=True):
        coordinates = np.array(getattr(shape, "exterior", shape).coords)[: len(vertices)]
        world = [before.data_to_world(v)[::-1] for v in vertices]
        np.testing.assert_allclose(coordinates, world, rtol=1e-12)
    pixel = 0.1 * 0.3
    assert len(drawn[2].exterior.coords) == 65
    assert drawn[2].area == pytest.approx(np.pi * 10 * 20 * pixel, rel=0.002)


def test_layers_of_one_name_and_names_of_every_kind(tmp_path: Path) -> None:
    names = ["a", "A", "a-2", "zarr.json", "HLA-A/B .%:", "..", "µ"]
    layers: list[Layer] = [Image(np.full((4, 4), n), **UM) for n in range(len(names))]
    for layer, name in zip(layers, names, strict=True):
        layer.name = name
    layers += [Points(np.ones((1, 2)), name="a", **UM), Image(np.full((4, 4), 99), name="a", **UM)]
    path = save(tmp_path / "s.zarr", *layers)
    saved = saved_layers(path)
    assert [attributes["name"] for _, attributes, _ in saved] == [layer.name for layer in layers]
    assert [int(data[0, 0]) for data, _, _ in saved] == [*range(len(names)), 1, 99]
    folders = [folder.name.casefold() for folder in (path / "images").iterdir()]
    assert len(set(folders)) == len(folders)


def _fail(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ValueError("unforeseen"), ValueError),
    ],
)
def test_a_save_that_fails_leaves_nothing(
    error: BaseException,
    raised: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = Image(np.zeros((4, 4)), **UM)
    monkeypatch.setattr("napari_stenhance.plugin.writer.write_table", _fail(error))
    with pytest.raises(raised, match="No space left" if raised is InputError else None):
        save(tmp_path / "s.zarr", image, Points(np.ones((1, 2)), **UM))
    assert not list(tmp_path.iterdir())


def test_what_lies_there_is_not_touched(tmp_path: Path) -> None:
    image = Image(np.zeros((4, 4)), **UM)
    (tmp_path / "file.zarr").write_text("mine")
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "mine").touch()
    (tmp_path / "link.zarr").symlink_to(tmp_path / "nowhere")
    for name in ("file.zarr", "folder.zarr", "link.zarr"):
        with pytest.raises(InputError, match="lies here already; choose another place"):
            save(tmp_path / name, image)
    with pytest.raises(InputError, match="cannot be written"):
        save(tmp_path / "file.zarr" / "below.zarr", image)
    assert (tmp_path / "file.zarr").read_text() == "mine"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file.zarr", "folder.zarr", "link.zarr"]
    (tmp_path / "empty.zarr").mkdir()
    assert is_saved(save(tmp_path / "empty.zarr", image))


def test_a_layer_with_more_axes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'cube' has 3 axes"):
        save(tmp_path / "s.zarr", Image(np.zeros((2, 4, 4)), name="cube"))
    assert not list(tmp_path.iterdir())


def test_only_what_was_saved_whole_is_opened(tmp_path: Path) -> None:
    path = save(tmp_path / "s.zarr", Image(np.zeros((4, 4)), **UM), _shapes())
    (path / "files" / "shapes" / "regions.geojson").unlink()
    with pytest.raises(InputError, match="layer 'regions' in files/shapes"):
        saved_layers(path)
    group = zarr.open_group(path, mode="r+")
    group.attrs["stenhance_layers"] = {"format_version": 99, "layers": []}
    with pytest.raises(InputError, match="format 99"):
        saved_layers(path)
    del group.attrs["stenhance_layers"]
    for other in (path, tmp_path / "nowhere"):
        assert not is_saved(other)
        with pytest.raises(InputError, match="no layers that napari-stenhance saved"):
            saved_layers(other)


def test_units_are_those_of_the_layer(tmp_path: Path) -> None:
    for n, (unit, written) in enumerate(
        [("px", "pixel"), ("um", "micrometer"), ("mm", "millimeter")]
    ):
        path = save(tmp_path / f"{n}.zarr", Image(np.zeros((4, 4)), units=unit, name="i"))
        [(_, attributes, _)] = saved_layers(path)
        assert attributes["units"] == [written] * 2
        group = zarr.open_group(path, mode="r")["images/i"]
        assert ome.Image.from_zarr(group).ome_attributes.multiscales[0].axes[0].unit == written
