"""In the viewer: work beside the interface, another gene on the slide, another gene on the spots.

Baselines: the same `enhance` without a viewer; opening the pinned image of the same gene; colouring
spots through the layer's features. Needs a display (`xvfb-run` will do).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QApplication
from timing import median_seconds

from napari_stenhance.plugin.colours import lookup_table
from napari_stenhance.plugin.genes import browse, browse_layer
from napari_stenhance.plugin.layers import section_layers
from napari_stenhance.plugin.levels import shown_levels
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.worker import Running
from napari_stenhance.results.genes import gene_group
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.running.job import Job
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.levels import Levels
from napari_stenhance.storage.pyramid import mean_pool, open_levels
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from made_sections import make_slide_pixels, make_spots, write_image

SPOTS = 100_000
FRAME_S = 1 / 60


def write_tissue(folder: Path) -> Path:
    """Write 9.6 × 8 mm of tissue: 25 times the synthetic section."""
    pixels, amounts = make_slide_pixels((2400, 2000), 0)
    write_image(folder / "one.jpg[Q=90]", np.tile(pixels, (5, 5, 1)))
    make_spots(amounts, 0).write_h5ad(folder / "one.h5ad")
    return folder / "one.h5ad"


def _beside_the_interface(work: Callable[[Job], Any]) -> tuple[float, float]:
    """Run work in the worker of the plugin; return its time and the 99th percentile of a frame."""
    ended: list[Any] = []
    running = Running("benchmark", work)
    running.ended.connect(ended.append)
    started = time.perf_counter()
    running.start()
    late = []
    while not ended:
        before = time.perf_counter()
        QApplication.processEvents()
        late.append(time.perf_counter() - before)
        time.sleep(FRAME_S)
    assert ended[0].error is None, ended[0].details
    return time.perf_counter() - started, float(np.percentile(late, 99))


def main() -> None:
    viewer = napari.Viewer()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        section = open_section(write_tissue(folder), cache=Cache(folder / "pyramids"))
        seconds: dict[str, float] = {}

        def work(job: Job, what: str) -> Any:
            out = folder / f"{what}.stenhance.zarr"
            options = EnhanceOptions((section,), out, write="G1", epochs=20, device="cpu")
            return enhance(options, job, Cache(folder / what))

        add_layers(viewer, section_layers(section))
        work(Job(), "warm up")
        started = time.perf_counter()
        work(Job(), "plain")
        seconds["plain"] = time.perf_counter() - started
        seconds["worker"], frame = _beside_the_interface(lambda job: work(job, "worker"))
        print("| enhance | s | ÷ plain | 99th percentile of a frame, ms |")
        print("|---|---|---|---|")
        print(f"| plain script | {seconds['plain']:.1f} | 1.00 | – |")
        ratio = seconds["worker"] / seconds["plain"]
        print(
            f"| worker of the plugin | {seconds['worker']:.1f} | {ratio:.2f} | {frame * 1e3:.0f} |"
        )

        result = ResultFolder.open(folder / "worker.stenhance.zarr")
        run = FieldRun(result, result.runs[0])
        layer = add_layers(viewer, [browse_layer(run, "G1", visible=True)])[0]
        group = gene_group(run, "G1")
        assert group is not None
        pinned = open_levels(group)

        def draw(show: Callable[[], None]) -> None:
            show()
            viewer.screenshot(flash=False)

        def read() -> None:
            layer.data = shown_levels(Levels.from_arrays(pinned, mean_pool))

        genes = iter(f"G{n}" for n in range(2, 40))
        look = median_seconds(lambda: draw(lambda: browse(layer, next(genes))))
        base = median_seconds(lambda: draw(read))
        print("\n| another gene, until it is drawn | ms | browse ÷ pinned |")
        print("|---|---|---|")
        print(f"| browse layer | {look * 1e3:.0f} | {look / base:.2f} |")
        print(f"| pinned image, opened anew | {base * 1e3:.0f} | |")

        rng = np.random.default_rng(0)
        values = rng.random(SPOTS).astype("f4")
        points = viewer.add_points(
            rng.random((SPOTS, 2)) * 1000, features={"g": values}, face_color="g", units="um"
        )

        def through_features() -> None:
            points.features["g"] = rng.random(SPOTS)
            points.refresh_colors()

        def through_table() -> None:
            points.face_color = lookup_table()[(rng.random(SPOTS) * 255).astype(np.uint8)]

        slow = median_seconds(through_features)
        fast = median_seconds(through_table)
        print(f"\n| {SPOTS} spots by another gene | ms | ÷ lookup table |")
        print("|---|---|---|")
        print(f"| lookup table | {fast * 1e3:.1f} | 1.0 |")
        print(f"| features and refresh_colors | {slow * 1e3:.1f} | {slow / fast:.1f} |")
    viewer.close()


if __name__ == "__main__":
    main()
