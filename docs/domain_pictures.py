"""Make the pictures of domains: cortex without a slide, and superpixels over one.

python docs/domain_pictures.py SECTION RESULT OUT     an .h5ad without a slide; a result with a field
"""

from __future__ import annotations

import sys
from pathlib import Path

import napari

from napari_stenhance.plugin.shown import layers_of
from napari_stenhance.plugin.view import add_docks
from screenshots import wait


def main(section: Path, result: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for path, number, name in ((section, 7, "domains"), (result, 8, "superpixels")):
        viewer = napari.Viewer()
        viewer.window.resize(1500, 950)
        docks = {n.split(" (")[0]: dock for n, dock in viewer.window.dock_widgets.items()}
        opened = add_docks(viewer)
        docks = {n.split(" (")[0]: dock for n, dock in viewer.window.dock_widgets.items()}
        dock = docks["Find domains"]
        opened.open(path)
        wait(lambda: not opened.run_bar.busy, 60)
        wait(seconds=0.3)
        dock.form.fields["n_domains"].value = number
        dock.form.fields["device"].value = "cpu"
        if path == section:
            dock.form.fields["out"].value = out / "cortex.stenhance.zarr"
        dock.parent().raise_()
        dock.run.click()
        wait(lambda: not dock.run_bar.busy, 600)
        assert any(layers_of(viewer, "domains"))
        wait()
        viewer.screenshot(str(out / f"{name}.png"), canvas_only=False, flash=False)
        viewer.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
