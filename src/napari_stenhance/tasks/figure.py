"""Draw a figure for print of what a result shows: genes as measured and as predicted, and more."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.running.job import Job
from napari_stenhance.tasks.figure_options import FigureOptions, check_figure


def figure(options: FigureOptions, job: Job | None = None) -> Path:
    """Draw genes, the slide and domains of a result as a figure for print: PNG, SVG or PDF.

    `napari_stenhance.figure` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.storage.atomic import atomic_path, need_free
    from napari_stenhance.tasks.figure_page import draw_page, save_page
    from napari_stenhance.tasks.figure_panels import FigureSource

    job = job or Job()
    check_figure(options)
    need_free(options.out)
    result = ResultFolder.open(options.result)
    source = FigureSource.from_result(result, options, job)
    rows = source.rows(job)
    with job.stage("Drawing", 1) as stage:
        page = draw_page(rows, source, options)
        with atomic_path(options.out) as aside:
            save_page(page, aside, options.out.suffix.lower(), options.dpi)
        stage.advance()
    return options.out
