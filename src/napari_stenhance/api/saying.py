"""What is said of a result in a few words, where it is printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.results.domains import DomainRun
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.run import Run
from napari_stenhance.running.numbers import counted

_SHOWN = 5


def said_in_short(
    runs: Callable[[], Sequence[Run]],
    of_genes: Callable[[], GeneSource],
    of_domains: Callable[[], DomainRun],
) -> list[str]:
    """Say what can be looked at, or why nothing can: to look raises nothing."""
    said = []
    try:
        if any(isinstance(run, GeneSource) for run in runs()):
            genes = of_genes()
            said.append(f"{counted(len(genes.genes), 'gene')} of {genes.name}")
        if any(isinstance(run, DomainRun) for run in runs()):
            domains = of_domains()
            said.append(f"{counted(len(domains.domains), 'domain')} of {domains.name}")
    except InputError as error:
        return [str(error)]
    return said or ["nothing is complete"]


def as_html(
    path: Path, said: Sequence[str], name_and_doubts: Callable[[], tuple[str, Sequence[str]]]
) -> str:
    """Write the same for a notebook, and the first doubts."""
    try:
        name, doubts = name_and_doubts()
    except InputError:
        # What is damaged was said.
        name, doubts = path.name, ()
    lines = "".join(f"<li>{escape(line)}</li>" for line in (*said, *doubts[:_SHOWN]))
    return f"<b>{escape(name)}</b> <code>{escape(from_here(path))}</code><ul>{lines}</ul>"


def from_here(path: Path) -> str:
    """Return a path, from the working folder if it lies below."""
    here = Path.cwd()
    below = path.is_relative_to(here) and path != here
    return str(path.relative_to(here) if below else path)
