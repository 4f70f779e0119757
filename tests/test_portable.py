"""Nothing is imported that Windows lacks, but where it was asked whether this is Windows."""

from __future__ import annotations

import ast
from contextlib import suppress
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


def programs(tree: ast.Module) -> list[ast.Module]:
    """The module itself, and the programs that it holds as strings, for other processes."""
    found = [tree]
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and "import" in text:
            with suppress(SyntaxError, ValueError):
                found.append(ast.parse(text))
    return found


def test_no_module_needs_what_windows_lacks() -> None:
    files = [f for part in ("src", "tests", "benchmarks") for f in (ROOT / part).rglob("*.py")]
    assert len(files) > 250
    found = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for program in programs(ast.parse(file.read_text("utf-8")))
        for name in imported(program) & LACKING
    }
    assert found == set()
