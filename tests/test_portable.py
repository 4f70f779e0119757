"""Every module can be loaded on Windows: what that lacks is imported where it is used."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
LACKING = {"crypt", "fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def imported(tree: ast.Module) -> set[str]:
    """Names of modules that are imported as soon as a module is."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_no_module_needs_what_windows_lacks() -> None:
    files = [f for part in ("src", "tests", "benchmarks") for f in (ROOT / part).rglob("*.py")]
    assert len(files) > 250
    found = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in imported(ast.parse(file.read_text("utf-8"))) & LACKING
    }
    assert found == set()
