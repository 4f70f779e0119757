"""Write and read the rasters of a field, with a checksum in each chunk and without.

Both in turn, in processor seconds, which what else the machine does changes least. What is read has
just been written, so it comes from memory.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_stenhance.running.job import Job
from napari_stenhance.storage.checked import checked
from napari_stenhance.storage.manifest import list_files
from napari_stenhance.storage.tiles import create_array, tiles_of, write_tile

SHAPE, TILE, RANK = (1536, 1536), 256, 48
ROUNDS = 9


def _array(folder: Path, *, sums: bool) -> zarr.Array[Any]:
    group = zarr.open_group(folder, mode="w")
    array = create_array(
        group,
        "s0",
        shape=(*SHAPE, RANK),
        chunks=(TILE, TILE, RANK),
        dtype="f2",
        dimension_names=("y", "x", "c"),
    )
    if sums:
        return array
    # As results were written before.
    blosc = array.metadata.codecs[1]
    bare = group.create_array(
        "bare",
        shape=array.shape,
        chunks=array.chunks,
        dtype="f2",
        compressors=blosc,
        config={"write_empty_chunks": True},
    )
    return checked(bare)


def _round(folder: Path, values: list[np.ndarray], *, sums: bool) -> tuple[float, float]:
    array = _array(folder, sums=sums)
    tiles = list(tiles_of(SHAPE, TILE))
    started = time.process_time()
    for tile, content in zip(tiles, values, strict=True):
        write_tile(array, tile, content)
    written = time.process_time()
    for tile in tiles:
        np.asarray(array[tile.rows, tile.columns])
    return written - started, time.process_time() - written


def main() -> None:
    rng = np.random.default_rng(0)
    values = []
    for tile in tiles_of(SHAPE, TILE):
        # Smooth, as latents are, with some noise: it compresses a little.
        y, x = np.mgrid[tile.rows, tile.columns] / 100
        smooth = np.sin(y[..., None] + np.arange(RANK)) + np.cos(x[..., None])
        values.append((smooth + 0.05 * rng.standard_normal(smooth.shape)).astype("f2"))
    megabytes = sum(v.nbytes for v in values) / 1e6
    took: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    lists = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "field"
        for n in range(ROUNDS + 1):
            for sums in (n % 2 == 0, n % 2 == 1):
                each = _round(folder, values, sums=sums)
                # The first loads libraries.
                took[sums] += [each] if n else []
                if sums:
                    started = time.process_time()
                    list_files(folder, ["s0"], [], Job())
                    lists += [time.process_time() - started] if n else []
                shutil.rmtree(folder)
    with_sums, without = (np.array(took[sums]) for sums in (True, False))
    ratio = with_sums / without
    print(f"{megabytes:.0f} MB of float16 in {len(values)} tiles, {ROUNDS} rounds.\n")
    print("| | with, s | without, s | with ÷ without, median | least | most |")
    print("|---|---|---|---|---|---|")
    for column, what in enumerate(("writing", "reading")):
        seconds = [np.median(one[:, column]) for one in (with_sums, without)]
        spread = [f(ratio[:, column]) for f in (np.median, np.min, np.max)]
        print(
            f"| {what} | {seconds[0]:.2f} | {seconds[1]:.2f} | "
            + " | ".join(f"{value:.2f}" for value in spread)
            + " |"
        )
    share = np.median(lists) / np.median(with_sums[:, 0])
    print(f"\nListing the files in the manifest, ÷ writing them: {share:.2f}.")


if __name__ == "__main__":
    main()
