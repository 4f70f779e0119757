"""What is slow once in a process, or once after installing: a thread does it beforehand."""

from __future__ import annotations

from threading import Thread

import numpy as np


def warm_layers() -> None:
    """Let napari, dask and pint load what the first image with a unit needs; call it in a thread.

    pint reads all of its units, and dask looks for a cluster.
    """
    import dask.array as da
    from napari.layers import Image

    Image(da.zeros((2, 2)), units=("micrometer", "micrometer"), contrast_limits=(0, 1))


def warm_drawing() -> None:
    """Let napari compile, in a thread of its own, what the first layer of shapes needs."""
    from napari.layers import Shapes

    triangle = np.eye(3)[:, :2]
    Thread(target=Shapes, args=([triangle],), kwargs={"shape_type": "polygon"}).start()


def warm_features() -> None:
    """Compile what tissue features need, or load it as it was compiled; call it in a thread."""
    from napari_stenhance.features.registry import find_encoder
    from napari_stenhance.running.job import Job
    from napari_stenhance.tasks.enhance import EnhanceOptions

    encoder = find_encoder(EnhanceOptions.encoder)
    if encoder.prepare is not None:
        encoder.prepare(Job())
