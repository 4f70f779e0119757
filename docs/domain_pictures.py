"""Make the pictures of domains: a cortex without a slide, and superpixels over one.

python docs/domain_pictures.py SECTION RESULT OUT     an .h5ad without slide; a result with a field
"""

from __future__ import annotations

import sys
from pathlib import Path

import napari
from screenshots import wait

from napari_stenhance.plugin.widgets.workbench import workbench_of


def picture(path: Path, number: int, result: Path, picture: Path) -> None:
    viewer = napari.Viewer()
    viewer.window.resize(1500, 950)
    bench = workbench_of(viewer)
    section, dock = bench.open("section"), bench.widget("domains")
    section.open(path)
    wait(lambda: not section.run_bar.busy, 60)
    wait(seconds=0.3)
    for field, value in (("n_domains", number), ("device", "cpu"), ("out", result)):
        dock.form.fields[field].value = value
    bench.open("domains")
    dock.run.click()
    wait(lambda: not dock.run_bar.busy, 600)
    wait()
    viewer.screenshot(str(picture), canvas_only=False, flash=False)
    viewer.close()


def main(section: Path, result: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    picture(section, 7, out / "cortex.stenhance.zarr", out / "domains.png")
    picture(section, 0, out / "cortex.stenhance.zarr", out / "domains-estimated.png")
    picture(result, 8, result, out / "superpixels.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
