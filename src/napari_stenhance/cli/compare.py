"""`napari-stenhance compare`."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from napari_stenhance.cli.command import Verb
from napari_stenhance.running.numbers import counted
from napari_stenhance.tasks.compare import Compared, CompareOptions, compare


def _show(done: tuple[Compared, ...]) -> None:
    table = Table(
        title=f"Agreement with the full counts, median over {counted(len(done[0].genes), 'gene')}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("", no_wrap=True)
    for name in done[0].scores:
        table.add_column(name, justify="right")
    for one in done:
        table.add_row(one.what, *(f"{value:.3g}" for value in one.medians().values()))
    Console(highlight=False).print(table)


VERB = Verb(CompareOptions, compare, _show)
