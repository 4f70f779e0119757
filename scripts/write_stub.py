"""Write `__init__.pyi`, from which editors complete: `python scripts/write_stub.py`.

The package imports lazily and makes its keywords of the tasks' options, which no editor runs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import napari_stenhance as st

STUB = Path(__file__).parents[1] / "src" / "napari_stenhance" / "__init__.pyi"
_HEAD = """\
# Made by scripts/write_stub.py of the options of the tasks; a test compares.
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

from anndata import AnnData
from numpy import ndarray
from pandas import DataFrame

"""
_MADE = {
    "Alignments": "tasks.align",
    "Compared": "tasks.compare",
    "DemoDone": "tasks.demo",
    "Diagnosis": "tasks.doctor",
    "EncoderWeights": "tasks.weights",
    "Evaluation": "tasks.evaluation",
    "Score": "tasks.evaluation",
}


def stub() -> str:
    """Return what the file should hold."""
    public = {name: getattr(st, name) for name in st.__all__}
    verbs = {name: value for name, value in public.items() if hasattr(value, "each")}
    homes = {name: st._HOME_OF[name] for name in public if name not in verbs}
    imports = [
        *(f"from napari_stenhance.{home} import {name} as {name}" for name, home in homes.items()),
        *(f"from napari_stenhance.{home} import {name}" for name, home in _MADE.items()),
    ]
    functions = [text for name, verb in verbs.items() for text in _function(name, verb)]
    return _HEAD + "\n".join([*sorted(imports), "", *functions]) + "\n"


def _function(name: str, verb: Any) -> Iterator[str]:
    """Write a verb; one that gives a list for a list is overloaded."""
    signature = inspect.signature(verb)
    said = f'    """{(verb.__doc__ or "").splitlines()[0]}"""'
    if not verb.each:
        yield _def(name, signature, {}, signature.return_annotation) + "\n" + said
        return
    made = signature.return_annotation.split(" | ")[0]
    none: dict[str, str] = {}
    for field in verb.each:
        several = signature.parameters[field].annotation
        one = re.sub(r" \| Sequence\[.*\]$", "", several)
        # A string is a sequence of strings too: of what fits both, the first is meant.
        for kind, returns in ((one, made), (f"Sequence[{one}]", f"list[{made}]")):
            text = _def(name, signature, {**none, field: kind}, returns)
            yield f"@overload\n{text}\n{said}"
        none[field] = "tuple[()] = ()"


def _def(name: str, signature: inspect.Signature, kinds: dict[str, str], returns: str) -> str:
    lines = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "    *," not in lines:
            lines.append("    *,")
        kind = kinds.get(parameter.name)
        if kind is None:
            kind = parameter.annotation
            if parameter.default is not parameter.empty:
                shown = isinstance(parameter.default, str | float | int | tuple | None)
                kind += f" = {parameter.default!r}" if shown else " = ..."
        lines.append(f"    {parameter.name}: {kind},")
    ignore = (
        "  # type: ignore[overload-overlap, unused-ignore]"
        if kinds and returns.count("[") == 0
        else ""
    )
    return "\n".join([f"def {name}({ignore}", *lines, f") -> {returns}:"])


if __name__ == "__main__":
    STUB.write_text(stub(), "utf-8")
