"""Regions as QuPath writes them, and files of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def qupath() -> list[dict[str, Any]]:
    """Return annotations as QuPath 0.5 exports them, and one as 0.2 did."""
    tumour = {"name": "Tumor", "color": [200, 0, 0]}
    with_hole = [square(100.5, 120.25, 400), square(200, 220, 100.125)]
    parts = [[square(600, 40, 100)], [square(720.375, 40, 60), square(730, 50, 20)]]
    return [
        {
            "type": "Feature",
            "id": "a3ed1ee2-0000-4d5b-b2a2-8a6d8c0f0001",
            "geometry": {"type": "Polygon", "coordinates": with_hole},
            "properties": {
                "objectType": "annotation",
                "name": "Nest 1",
                "classification": tumour,
                "measurements": {"Area µm^2": 39974.9, "Perimeter µm": 812.5},
                "isLocked": False,
            },
        },
        {
            "type": "Feature",
            "id": "PathAnnotationObject",
            "geometry": {"type": "MultiPolygon", "coordinates": parts},
            "properties": {
                "classification": {"name": "Stroma", "colorRGB": -6895466},
                "measurements": [{"name": "Num Detections", "value": 12}],
            },
        },
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [square(10, 500, 32)]},
            "properties": {"objectType": "annotation", "color": [0, 128, 255]},
        },
        {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}},
    ]


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), "utf-8")
    return path
