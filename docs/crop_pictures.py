"""Make the picture of what HisToSGE predicts of a synthetic section: each written gene by itself.

python docs/crop_pictures.py RESULT OUT     a result of histosge with four genes written
"""

from __future__ import annotations

import sys
from pathlib import Path

import napari
import numpy as np
from skimage.io import imsave
from skimage.util import montage
from tour import wait

from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.layers import result_layers
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.results.result import ResultFolder


def main(result: Path, out: Path) -> None:
    viewer = napari.Viewer()
    viewer.window.resize(760, 560)
    add_layers(viewer, result_layers(ResultFolder.open(result), None))
    wait(seconds=2)
    pictures = []
    for layer, about in sorted(layers_of(viewer, "gene"), key=lambda pair: pair[1].gene):
        for other in viewer.layers:
            other.visible = other is layer
        layer.opacity = 1
        text = viewer.canvas.overlays.text
        text.visible, text.text, text.font_size = True, about.gene, 14
        row, column = np.nonzero(np.isfinite(np.asarray(layer.data[0])))
        low, high = (layer.data_to_world((f(row), f(column))) for f in (np.min, np.max))
        viewer.scene.camera.center = np.add(low, high) / 2
        height, width = viewer.canvas.size
        viewer.scene.camera.zoom = 0.8 * min(height, width) / np.subtract(high, low).max()
        wait(seconds=1)
        pictures.append(viewer.screenshot(canvas_only=True, flash=False)[..., :3])
    viewer.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    imsave(out, montage(np.stack(pictures), grid_shape=(2, 2), channel_axis=3))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
