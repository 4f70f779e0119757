"""Two sections of a synthetic block over one another in Compare, and what the doctor draws.

python docs/overlay_picture.py PICTURES [--size 1280x800]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pyvips
from scipy import ndimage
from tour import Window, wait

import napari_stenhance as st
from napari_stenhance.phantoms.write import write_phantom

SIZE_MM, SEED, TURNED_DEG, MOVED_UM, GENE = 3.0, 41, 35.0, (180.0, -120.0), "ERBB2"
SHARE = 50


def write_neighbour(folder: Path, to: Path) -> None:
    """Write a section as it would be cut next: turned, moved, and counted anew."""
    section = st.read(folder)
    slide, mpp = section.need_slide(), section.mpp or 1.0
    pixels = slide.read(slide.extent_um(), mpp)
    angle = np.deg2rad(TURNED_DEG)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array(pixels.shape[1::-1]) / 2
    moved = middle + np.array(MOVED_UM) / mpp - turn @ middle
    # Of (row, column), from the new picture to the old.
    back = turn.T[::-1, ::-1]
    glass = np.percentile(pixels[::8, ::8].reshape(-1, 3), 98, axis=0)
    seen = [
        ndimage.affine_transform(
            pixels[..., n], back, -back @ moved[::-1], order=1, cval=float(glass[n])
        )
        for n in range(3)
    ]
    image = pyvips.Image.new_from_array(np.stack(seen, axis=-1))
    image.write_to_file(str(to.with_name(f"{to.stem}_he.jpg")), Q=90)
    spots = section.need_spots().copy()
    spots.obsm["spatial"] = np.asarray(spots.obsm["spatial"]) @ turn.T + moved
    spots.X = spots.X.astype(np.float32)
    spots.X.data = np.random.default_rng(0).poisson(spots.X.data).astype(np.float32)
    inside = (spots.obsm["spatial"] > 0).all(axis=1)
    inside &= (spots.obsm["spatial"] < np.array(pixels.shape[1::-1]) - 1).all(axis=1)
    spots = spots[inside].copy()
    spots.obs = spots.obs[[]]
    geometry = section.geometry()
    table = ad.AnnData(
        spots.X, obs=spots.obs, var=spots.var[[]], obsm={"spatial": spots.obsm["spatial"]}
    )
    table.uns = {
        "microns_per_pixel": mpp,
        "spot_diameter_um": geometry.spot_diameter_um,
        "spot_pitch_um": geometry.pitch_um,
    }
    table.write_h5ad(to)


def write_doctor(folder: Path, scratch: Path, to: Path) -> None:
    """Turn the spots by 180°, and draw what the doctor finds."""
    section = st.read(folder)
    spots = section.need_spots().copy()
    height, width = section.need_slide().shape
    spots.obsm["spatial"] = (width - 1, height - 1) - np.asarray(spots.obsm["spatial"])
    turned = st.Section(slide=section.slide, spots=spots, name=section.name)
    print(st.doctor(turned, picture=scratch).said)
    drawn = pyvips.Image.new_from_file(str(scratch))
    drawn.flatten(background=255).write_to_file(str(to), Q=80)


def main(out: Path, size: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        first, second = Path(scratch) / "B1", Path(scratch) / "B2.h5ad"
        write_phantom(first, SIZE_MM, SEED)
        write_neighbour(first, second)
        write_doctor(first, Path(scratch) / "both.png", out / "placement.jpg")
        window = Window(out, size, "dark")
        window.open(second)
        window.open(first)
        window.session.look_at_measured(GENE)
        panel = window.bench.open("compare")
        panel.left.setCurrentIndex(0)
        panel.right.setCurrentIndex(1)
        window.tick("Lay over one another", on=True)
        window.press("Compare")
        window.finish(panel)
        panel.blend.slider.setValue(SHARE)
        window.shoot("overlay")
        print(panel.words.text())
        window.press("End")
        wait(lambda: not panel._view.layers, 60)
        window.viewer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="1280x800")
    given = parser.parse_args()
    width, height = (int(n) for n in given.size.split("x"))
    main(given.out, (width, height))
