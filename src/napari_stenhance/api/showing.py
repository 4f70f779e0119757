"""A result as others see it: a script that repeats it, and figures for print."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.api.keywords import keywords
from napari_stenhance.running.job import Job
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.figure_options import FigureOptions
from napari_stenhance.tasks.script import ScriptOptions


@keywords(ScriptOptions)
def script(options: ScriptOptions, job: Job, cache: Cache) -> str:
    """Write down the commands, or the Python, that repeat the runs of a result.

    Returns
    -------
    str
        Commands for a shell, or with `python=True` a script. What cannot be repeated from files (a
        section that was made in Python, domains that were edited by hand, inputs that are gone or
        changed) stands there as a comment that says why.

    Raises
    ------
    InputError
        If there is no result.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> st.script("one.stenhance.zarr").splitlines()[-1].split()[:2]
    ['napari-stenhance', 'enhance']
    """
    from napari_stenhance.tasks.script import script as task

    return task(options, job, cache)


@keywords(FigureOptions)
def figure(options: FigureOptions, job: Job, cache: Cache) -> Path:
    """Draw genes, the slide and domains of a result as a figure for print: PNG, SVG or PDF.

    Each panel has a scale bar and says whether a gene was measured or predicted; a gene has one
    scale in all panels, and one that is not reliable is washed out. Text stays text in SVG and PDF,
    and the same keywords make the same bytes.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If a gene, a panel or what it shows is not there, a keyword cannot be used, or `out` exists.
    Cancelled
        If the job was cancelled; nothing is left behind.

    Examples
    --------
    >>> st.figure("one.stenhance.zarr", "G1.svg", genes="G1", panels="he,measured,predicted").name
    'G1.svg'
    """
    from napari_stenhance.tasks.figure import figure as task

    return task(options, job)
