"""Rename, merge, hide and recolour domains without napari."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import ClearDeadLocks, Help, Options

if TYPE_CHECKING:
    from napari_stenhance.results.domains import DomainRun


@dataclass(frozen=True)
class EditDomainsOptions(Options):
    """Options of `edit_domains`."""

    result: Annotated[
        Path, Help("The result whose domains are edited.", positional=True, takes=("Result",))
    ]
    rename: Annotated[
        tuple[str, ...], Help("Rename a domain, by its number or name: 3=White matter.")
    ] = ()
    merge: Annotated[tuple[str, ...], Help("Put a domain into another: 5=3.")] = ()
    hide: Annotated[tuple[str, ...], Help("Do not show a domain.")] = ()
    recolour: Annotated[tuple[str, ...], Help("Give a domain another colour: 3=#E69F00.")] = ()
    run: Annotated[str, Help("Which domain run; by default the newest.")] = ""
    clear_dead_locks: ClearDeadLocks = False


def edit_domains(options: EditDomainsOptions, job: Job | None = None) -> DomainRun:
    """Rename, merge, hide or recolour domains, as a run beside the one they are of.

    `napari_stenhance.edit_domains` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.domain_edit import DomainEdit, edit_all
    from napari_stenhance.results.domains import domain_run
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.tasks.recorded import log_command, recorded

    def edited(run: DomainRun) -> DomainEdit:
        return edit_all(run, options.rename, options.merge, options.hide, options.recolour)

    job = job or Job()
    result = ResultFolder.open(options.result)
    run = domain_run(result, options.run)
    before = run.identity.get("edited_from")
    if before and not options.run:
        # The same command again, which may have been stopped at its very end: no further edit.
        with suppress(InputError):
            same = edited(domain_run(result, before))
            if same.is_saved_as(run):
                job.note(f"{result.path}: the run {run.name} is already complete.")
                return run
    edit = edited(run)
    with job.stage("Writing domains", 1) as stage:
        saved = edit.save(clear_dead_locks=options.clear_dead_locks)
        log_command(saved.result, recorded("edit_domains", options), result.name, saved.name)
        stage.advance()
    return saved
