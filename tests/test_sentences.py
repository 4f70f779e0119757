"""Sentences of the core name things; the command line adds flags, docks add labels."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import napari_stenhance
from napari_stenhance import tasks
from napari_stenhance.errors import Cancelled, InferenceError, InputError
from napari_stenhance.tasks.options import Options, SlideOptions, options_of
from test_cli import run

SOURCE = Path(napari_stenhance.__file__).parent
CORE = [f for f in sorted(SOURCE.rglob("*.py")) if SOURCE / "cli" not in f.parents]


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Read every string of a module, docstrings too; what is filled in stands as a letter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else "x" for v in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_sentence_of_the_core_names_a_flag() -> None:
    assert len(CORE) > 150
    found = [
        f"{file.relative_to(SOURCE)}:{line}: {text}"
        for file in CORE
        for line, text in texts(ast.parse(file.read_text("utf-8")))
        if re.search(r"--\w", text)
    ]
    assert found == []


def test_the_option_that_an_error_names_is_a_field() -> None:
    for module in pkgutil.iter_modules(tasks.__path__, f"{tasks.__name__}."):
        importlib.import_module(module.name)
    every = [*Options.__subclasses__(), *SlideOptions.__subclasses__()]
    assert len(every) > 10
    fields = {option.name for options in every for option in options_of(options)}
    named = [
        (file.name, node.lineno, node.value.value)
        for file in CORE
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "option"
        if isinstance(node.value, ast.Constant)
    ]
    assert len(named) > 50
    assert [one for one in named if one[2] not in fields] == []


@pytest.mark.parametrize("kind", [InputError, InferenceError, Cancelled])
def test_the_name_here_stands_before_the_full_stop(kind: type[InputError]) -> None:
    error = kind("It is so; do this.", option="mpp")
    named = error.naming("--mpp")
    assert (type(named), str(named), named.option) == (kind, "It is so; do this (--mpp).", "mpp")
    assert str(kind("Did you mean this?").naming("--genes")) == "Did you mean this? (--genes)"
    assert error.naming("") is error


def test_the_command_line_adds_the_flag_that_it_has(small_files: list[Path]) -> None:
    section, out = small_files[0], small_files[0].parent / "flag.zarr"
    ran = run("domains", section, "--out", out, "--n-domains", "1", code=2)
    assert ran.stderr == "Error: There can be 2 to 255 domains, not 1 (--n-domains).\n"
    # The section is a positional argument of `info`: it has no flag.
    ran = run("info", section.parent / "nothing here", code=2)
    assert "--" not in ran.stderr
    ran = run("enhance", section, "--out", section.parent, "--device", "cpu", code=2)
    assert "nothing was touched (--out)." in ran.stderr
