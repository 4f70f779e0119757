"""`napari-stenhance weights`."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.weights import EncoderWeights, WeightsOptions, weights


def _show(found: tuple[EncoderWeights, ...]) -> None:
    if len(found) == 1:
        typer.echo("\n".join(_lines(*found)))
        return
    here, away = ([one for one in found if one.here is there] for there in (True, False))
    typer.echo("On this machine:")
    for one in here:
        typer.echo(f"  {one.name}" + (f"  {one.path}" if one.path else ""))
    table = Table(title="To be fetched", title_justify="left", box=box.SIMPLE_HEAD)
    for column, justify in (("encoder", "left"), ("MB", "right"), ("licence", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    table.add_column("commercial use")
    table.add_column("access")
    for one in away:
        access = "on request" if one.gated else "open" if one.fetched else "by hand"
        access = "by pip" if one.install else access
        size = f"{one.size_bytes / 1e6:,.0f}" if one.size_bytes else ""
        table.add_row(one.name, size, one.licence, _COMMERCIAL[one.commercial], access)
    Console(highlight=False).print(table)
    typer.echo(
        "Terms, and how to fetch one: napari-stenhance weights NAME; timm:MODEL is any of timm's."
    )


_COMMERCIAL = {True: "allowed", False: "no", None: "see the licence"}


def _lines(one: EncoderWeights) -> Iterator[str]:
    """Say all of one encoder."""
    yield f"{one.name}: {one.path or 'not on this machine'}"
    yield f"licence: {one.licence} ({one.page or 'see its model card'})"
    yield f"commercial use: {_COMMERCIAL[one.commercial]}"
    if one.terms:
        yield f"terms: {one.terms}"
    if one.citation:
        yield f"cite: {one.citation}"
    if one.here:
        return
    if one.size_bytes:
        yield f"size: {one.size_bytes / 1e6:,.0f} MB"
    if one.gated:
        yield f"access: ask for it at {one.page}; then `hf auth login`, or set HF_TOKEN"
    if one.install:
        yield f"to install: {one.install}"
    elif one.fetched:
        yield f"to accept and fetch: napari-stenhance weights {one.name} --yes"
    else:
        yield f"to fetch: from {one.page}; then use it as {one.name}?weights=FILE"


VERB = Verb(WeightsOptions, weights, _show)
