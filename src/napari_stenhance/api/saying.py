"""What is said of a result in a few words, where it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from napari_stenhance.results.domains import DomainRun
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.run import Run
from napari_stenhance.running.numbers import counted


def said_in_short(genes: GeneSource | None, domains: DomainRun | None) -> list[str]:
    """Say what can be looked at."""
    said = []
    if genes is not None:
        said.append(f"{counted(len(genes.genes), 'gene')} of {genes.name}")
    if domains is not None:
        said.append(f"{counted(len(domains.domains), 'domain')} of {domains.name}")
    return said or ["nothing is complete"]


def as_html(name: str, where: str, said: Sequence[str]) -> str:
    """Write the same for a notebook."""
    lines = "".join(f"<li>{escape(line)}</li>" for line in said)
    return f"<b>{escape(name)}</b> <code>{escape(where)}</code><ul>{lines}</ul>"


def has_kind(runs: Sequence[Run], kind: type[Run]) -> bool:
    """Tell whether some of the runs are of a kind."""
    return any(isinstance(run, kind) for run in runs)


def from_here(path: Path) -> str:
    """Return a path, from the working folder if it lies below."""
    here = Path.cwd()
    below = path.is_relative_to(here) and path != here
    return str(path.relative_to(here) if below else path)
