"""500,000 cells in the viewer, with outlines: another gene, and where one looks, against points.

As measured, and as cells of a file that take the mean of what is predicted in each. Baseline: the
same cells as points, in colours of the same lookup table. Needs a display (`xvfb-run` will do).
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import napari
import numpy as np
import scipy.sparse as sp
import shapely
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication
from timing import median_seconds, seconds

from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.plugin.cell_means import cells_layer
from napari_stenhance.plugin.layer_info import LayerData
from napari_stenhance.plugin.layers import run_layers, section_layers
from napari_stenhance.plugin.opening import open_at_once
from napari_stenhance.plugin.session import Session, session_of
from napari_stenhance.running.job import Job
from napari_stenhance.section.named_regions import NamedRegions
from napari_stenhance.section.outlines import CellOutlines
from napari_stenhance.section.section import Section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance_runs

CELLS = 707
"""Along each side."""
GENES, OF_EACH = 300, 60
APART_UM = 10.0
CORNERS = 20
SIDE_MM = 6.0
"""Of the tissue on which cells are outlined."""


def cells() -> tuple[Section, NDArray[np.float64]]:
    """Make cells on a shaken lattice, and their (x, y) in µm."""
    rng = np.random.default_rng(0)
    lattice = np.argwhere(np.ones((CELLS, CELLS)))
    xy = (lattice + rng.uniform(-0.3, 0.3, lattice.shape)) * APART_UM
    number = len(xy) * OF_EACH
    row, column = rng.integers(0, len(xy), number), rng.integers(0, GENES, number)
    counts = sp.csr_matrix((np.ones(number, np.float32), (row, column)), (len(xy), GENES))
    spots = ad.AnnData(counts, obsm={"spatial": xy}, uns={"spot_diameter_um": 8.0})
    around = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    form = np.column_stack([5 * np.cos(around), 3.5 * np.sin(around)])
    first = np.arange(len(xy) + 1) * CORNERS
    corners = (xy[:, None] + form).reshape(-1, 2).astype(np.float32)
    outlines = CellOutlines(list(spots.obs_names), corners, first)
    return Section(spots=spots, name="cells", mpp=1.0, outlines=lambda: outlines), xy


def _look(viewer: napari.Viewer, zoom: float, at: tuple[float, float]) -> None:
    viewer.scene.camera.center = (0.0, *at)
    viewer.scene.camera.zoom = zoom
    QApplication.processEvents()


def _shown(section: Section) -> tuple[napari.Viewer, Session, float]:
    """Show the cells as the plugin does; return how long they take to be laid out."""
    viewer = napari.Viewer()
    session = session_of(viewer)
    started = time.perf_counter()
    layers = section_layers(section)
    laid = time.perf_counter() - started
    open_at_once(session, layers)
    QApplication.processEvents()
    return viewer, session, laid


def _recolour_predicted(folder: Path) -> list[tuple[str, float]]:
    """Look at other genes of cells that were outlined on a prediction; return medians, seconds."""
    made = folder / "made"
    write_phantom(made, SIDE_MM, 0, Job())
    options = EnhanceOptions((made,), folder / "made.stenhance.zarr", epochs=2, device="cpu")
    (run,) = enhance_runs(options, Job(), Cache(folder / "cache"))
    rng = np.random.default_rng(0)
    lattice = np.argwhere(np.ones((CELLS, CELLS)))
    xy = (lattice + rng.uniform(0.3, 0.7, lattice.shape)) * (SIDE_MM * 1e3 / CELLS)
    outlines = shapely.buffer(shapely.points(xy), 3.0, quad_segs=CORNERS // 4)
    regions = NamedRegions(tuple(map(str, range(len(xy)))), outlines)
    viewer = napari.Viewer()
    session = session_of(viewer)
    laid: list[LayerData] = []
    first, *others = run.genes[:20]
    outlined = seconds(lambda: laid.append(cells_layer(run, regions, "cells", first, Job())))
    open_at_once(session, [*run_layers(run), *laid], run)
    QApplication.processEvents()
    colours = laid[0][1]["metadata"]["stenhance"].colours
    names = itertools.cycle(others)
    took: list[tuple[float, ...]] = []
    for _ in range(9):
        gene = next(names)
        took.append(
            (
                seconds(lambda gene=gene: colours.values(gene)),
                seconds(lambda gene=gene: session.look_at(gene=gene)),
                seconds(QApplication.processEvents),
            )
        )
    viewer.close()
    read, shown, drawn = (float(v) for v in np.median(took[2:], axis=0))
    return [
        ("outlined, in a thread", outlined),
        ("means of another gene, in a thread", read),
        ("shown, on the interface's thread", shown),
        ("drawn", drawn),
    ]


def main() -> None:
    section, xy = cells()
    viewer, session, laid = _shown(section)
    genes = itertools.cycle(map(str, range(GENES)))

    def recolour() -> None:
        session.look_at(gene=next(genes))

    def drawn(call: Callable[[], None]) -> Callable[[], None]:
        def both() -> None:
            call()
            QApplication.processEvents()

        return both

    middle, zoom = CELLS * APART_UM / 2, viewer.scene.camera.zoom
    rows = [("another gene, seen whole", median_seconds(recolour), median_seconds(drawn(recolour)))]
    steps: list[tuple[str, float, float]] = []
    for nearer in (4, 8, 16, 32):
        first = seconds(lambda by=nearer: _look(viewer, zoom * by, (middle, middle)))
        places = itertools.cycle((middle + n * 60 / nearer, middle) for n in range(40))
        pan = median_seconds(lambda by=nearer, to=places: _look(viewer, zoom * by, next(to)))
        steps.append((f"{nearer} times nearer", first, pan))
    rows.append(
        ("another gene, 32 times nearer", median_seconds(recolour), median_seconds(drawn(recolour)))
    )
    viewer.close()

    plain = napari.Viewer()
    values = np.random.default_rng(1).random((len(xy), 4)).astype(np.float32)
    points = plain.add_points(xy[:, ::-1], size=8, border_width=0, face_color=values)
    QApplication.processEvents()

    def recolour_points() -> None:
        points.face_color = np.roll(values, 1, axis=0)

    slow = median_seconds(recolour_points, 3), median_seconds(drawn(recolour_points), 3)
    far = plain.scene.camera.zoom
    places = itertools.cycle((middle + n * 60 / 32, middle) for n in range(40))
    pan = median_seconds(lambda: _look(plain, far * 32, next(places)), 3)
    plain.close()

    print(f"Laid out, in the thread that opens them: {laid:.1f} s.\n")
    print("| what | on the interface's thread, ms | until it is drawn, ms |")
    print("|---|---|---|")
    for what, alone, until in (*rows, ("points, seen whole", *slow)):
        print(f"| {what} | {alone * 1e3:.0f} | {until * 1e3:.0f} |")
    print("\n| looking nearer | first there, ms | a step beside, ms |")
    print("|---|---|---|")
    for what, first, beside in steps:
        print(f"| {what} | {first * 1e3:.0f} | {beside * 1e3:.0f} |")
    print(f"| points, 32 times nearer | | {pan * 1e3:.0f} |")
    with tempfile.TemporaryDirectory() as name:
        rows = _recolour_predicted(Path(name))
    print("\n| cells of a file on a prediction | ms |\n|---|---|")
    for what, took in rows:
        print(f"| {what} | {took * 1e3:.0f} |")


if __name__ == "__main__":
    main()
