"""No name is defined twice: who reads one knows which it is."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import napari_stenhance

_ROOT = Path(napari_stenhance.__file__).parent


def test_no_public_name_is_defined_twice() -> None:
    """But a verb: the front door's function is called as the task that it calls."""
    places = defaultdict(list)
    for file in sorted(_ROOT.rglob("*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name[0] != "_":
                places[node.name].append(file.relative_to(_ROOT))
    assert len(places) > 500
    twice = {
        name: [str(f) for f in files]
        for name, files in places.items()
        if len(files) > 1 and sorted(f.parts[0] for f in files) != ["api", "tasks"]
    }
    assert not twice
