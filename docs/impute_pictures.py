"""Make the picture of imputed genes: one that only the cells have, over a slide.

python docs/impute_pictures.py SECTION CELLS CLUSTER_KEY GENE OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import napari
from screenshots import wait

from napari_stenhance.plugin.widgets.workbench import workbench_of


def main(path: Path, cells: Path, key: str, gene: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer()
    viewer.window.resize(1500, 950)
    bench = workbench_of(viewer)
    section, dock = bench.open("section"), bench.widget("impute")
    section.open(path)
    wait(lambda: not section.run_bar.busy, 60)
    wait(seconds=0.3)
    for field, value in (
        ("reference", cells), ("cluster_key", key), ("device", "cpu"),
        ("out", out / "imputed.stenhance.zarr"),
    ):  # fmt: skip
        dock.form.fields[field].value = value
    bench.open("impute")
    dock.run.click()
    wait(lambda: not dock.run_bar.busy, 900)
    wait()
    genes = bench.open("genes")
    genes.show_gene(gene)
    wait()
    viewer.screenshot(str(out / "impute.png"), canvas_only=False, flash=False)
    genes.uncertainty.setChecked(True)
    wait()
    viewer.screenshot(str(out / "impute-uncertainty.png"), canvas_only=False, flash=False)
    viewer.close()


if __name__ == "__main__":
    section, cells, key, gene, out = sys.argv[1:]
    main(Path(section), Path(cells), key, gene, Path(out))
