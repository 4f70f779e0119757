"""Files of regions are read in micrometres, whatever wrote them, and written as they were."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

import napari_stenhance as st
from made_regions import qupath, square, write
from napari_stenhance.section.named_regions import NamedRegions


def test_what_qupath_exports_goes_through_micrometres_and_back_as_it_was(tmp_path: Path) -> None:
    mpp = 0.7216
    file = write(tmp_path / "q.geojson", {"type": "FeatureCollection", "features": qupath()})
    read = NamedRegions.read(file, mpp)
    assert read.names == ("Nest 1", "Stroma", "Region 3")
    assert read.kinds == ("Tumor", "Stroma", "")
    assert read.colours == ("#c80000", "#96c896", "#0080ff")
    assert read.measurements[1] == {"Num Detections": 12}
    # The outer corner of the first pixel is half a pixel before its centre, which is 0 µm.
    assert read.areas[2].bounds == pytest.approx(
        (9.5 * mpp, 499.5 * mpp, 41.5 * mpp, 531.5 * mpp), rel=1e-14
    )
    pixels, line = read.doubts
    assert (
        pixels == "q.geojson: QuPath wrote its coordinates in pixels; at 0.7216 µm they are in "
        "µm here."
    )
    assert line == "q.geojson: 1 of 4 features has no area and was left out."
    read.write(tmp_path / "ours.geojson")
    ours = NamedRegions.read(tmp_path / "ours.geojson")
    assert not ours.doubts
    assert shapely.equals_exact(ours.areas, read.areas).all()
    ours.write(tmp_path / "back.geojson", mpp)
    for name in ("names", "kinds", "colours", "measurements"):
        assert getattr(ours, name) == getattr(read, name)
    back = json.loads((tmp_path / "back.geojson").read_text())
    for old, new in zip(qupath(), back["features"], strict=False):
        assert new["geometry"] == old["geometry"]
        assert new["properties"]["objectType"] == "annotation"
    assert back["features"][0]["properties"]["classification"] == {
        "name": "Tumor",
        "color": [200, 0, 0],
    }
    with pytest.raises(st.InputError, match="something lies here already"):
        read.write(tmp_path / "ours.geojson")


def test_a_file_that_does_not_say_its_unit_is_understood_by_the_slide(tmp_path: Path) -> None:
    def read(*corners: tuple[float, float], units: Any = None) -> NamedRegions:
        rings = [[square(*at, 20)] for at in corners]
        content = {
            "type": "FeatureCollection",
            **({"units": units} if units else {}),
            "features": [
                {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": one}}
                for one in rings
            ],
        }
        return NamedRegions.read(write(tmp_path / "r.geojson", content), 0.5, (2000, 1600))

    # On the slide of 1000 × 800 µm, it can only be in pixels.
    pixels = read((1500, 900), (1400, 1900))
    assert pixels.areas[0].bounds == (750, 450, 760, 460)
    assert "\n".join(pixels.doubts) == (
        "r.geojson: it does not say the unit of its coordinates; only as pixels do they lie on the "
        "slide; at 0.5 µm they are in µm here."
    )
    # Where both would do, and where neither does, µm, which is said; also if little is outside.
    for corners in (((100, 90),), ((5000, 90),), ((700, 900), (30, 900), (850, 10))):
        found = read(*corners)
        assert found.areas[0].bounds[:2] == corners[0]
        assert "\n".join(found.doubts) == (
            "r.geojson: it does not say the unit of its coordinates; they are taken for µm. If "
            'they are pixels, write "units": ["pixel", "pixel"] into it.'
        )
    # What is said is believed.
    assert read((1500, 900), units=["micrometer"] * 2).areas[0].bounds[0] == 1500
    assert read((100, 90), units=["pixel"] * 2).areas[0].bounds[0] == 50
    assert read((1500, 900), units=["µm"] * 2).areas[0].bounds[0] == 1500
    assert read((100, 90), units="px").areas[0].bounds[0] == 50
    for units, said in ((["millimeter"] * 2, "millimeter"), (["pixel", "um"], "pixel and um")):
        with pytest.raises(st.InputError, match=f"its unit is {said}; only micrometer and pixel"):
            read((1, 2), units=units)


@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "1e12"])
def test_a_corner_that_is_nowhere_is_said(tmp_path: Path, wrong: str) -> None:
    text = f'{{"type": "Polygon", "coordinates": [[[0, 0], [9, {wrong}], [9, 9], [0, 0]]]}}'
    (tmp_path / "r.geojson").write_text(text)
    with pytest.raises(st.InputError, match=r"a coordinate is not a number below 1e\+09"):
        NamedRegions.read(tmp_path / "r.geojson")


@pytest.mark.parametrize(
    "text",
    [
        '{"features": [{"type": "Feature"} {"type": "Feature"}]}',
        '{"features": [], "type" 3}',
        '{"features": []',
        "{3: []}",
        '[{"type": "Feature"}',
        '{"features": []} and more',
        "[",
        "",
    ],
)
def test_json_that_is_broken_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.geojson").write_text(text)
    with pytest.raises(st.InputError, match="this GeoJSON cannot be read"):
        NamedRegions.read(tmp_path / "r.geojson")


def test_ten_thousand_regions_are_read_in_a_second_or_two(tmp_path: Path) -> None:
    turn = np.linspace(0, 2 * np.pi, 40)
    ring = np.round(np.column_stack([np.cos(turn), np.sin(turn)]) * 9, 2)
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[*(ring + [n, n]).tolist()]]},
            "properties": {"objectType": "cell", "measurements": {"a": n}},
        }
        for n in range(10_000)
    ]
    file = write(tmp_path / "cells.geojson", features)
    began = time.perf_counter()
    read = NamedRegions.read_cells(file, 0.5)
    assert time.perf_counter() - began < 4
    assert len(read) == 10_000
    assert read.names[41] == "Cell 42"


def test_each_polygon_of_a_class_of_cells_is_a_cell(tmp_path: Path) -> None:
    kind = {"name": "Neoplastic", "color": [255, 0, 0]}
    cells = {"type": "MultiPolygon", "coordinates": [[square(9 * n, 5, 7)] for n in range(5)]}
    properties = {"objectType": "annotation", "classification": kind}
    file = write(
        tmp_path / "c.geojson", [{"type": "Feature", "geometry": cells, "properties": properties}]
    )
    read = NamedRegions.read_cells(file, 0.25)
    assert read.names == tuple(f"Cell {n}" for n in range(1, 6))
    assert set(read.kinds) == {"Neoplastic"}
    assert read.doubts[-1] == "c.geojson: 1 feature holds 5 polygons; each is taken for one cell."
