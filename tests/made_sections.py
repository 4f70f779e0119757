"""A small synthetic section whose genes follow its stain."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pyvips
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage

from napari_stenhance.features.masks import TissueKind
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import FeatureSettings, FeatureSource
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache

GLASS = np.array([245, 242, 244])
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])
MPP = 0.8
PITCH_UM = 100.0


def _blurred(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Blur what goes on at the other edge: of these widths much faster than a convolution."""
    spectrum = ndimage.fourier_gaussian(fft.rfft2(values), sigma, n=values.shape[1])
    return fft.irfft2(spectrum, values.shape)


def _amounts(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw smooth amounts of haematoxylin and eosin in a blob of tissue on glass."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    tissue = ((y / height - 0.5) / 0.42) ** 2 + ((x / width - 0.5) / 0.36) ** 2 < 1
    fields = []
    for sigma_um in (40, 60):
        noise = _blurred(rng.standard_normal(shape), sigma_um / MPP)
        fields.append(ndimage.gaussian_filter(0.5 + 0.5 * np.tanh(noise / noise.std()), 1))
    nuclei = ndimage.gaussian_filter((rng.random(shape) < 0.004).astype(float), 3 / MPP)
    nuclei /= nuclei.max()
    haematoxylin = 0.15 + 0.9 * fields[0] * nuclei + 0.15 * fields[0]
    eosin = 0.1 + 0.3 * fields[1]
    return np.stack([haematoxylin, eosin]) * tissue


def make_slide_pixels(
    shape: tuple[int, int], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    amounts = _amounts(shape, rng)
    density = np.einsum("syx,sc->yxc", amounts, np.stack([HAEMATOXYLIN, EOSIN]))
    pixels = GLASS * 10**-density + rng.normal(0, 1.5, (*shape, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8), amounts


def write_image(path: Path, pixels: NDArray[np.uint8]) -> Path:
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, bands, "uchar")
    image.copy(interpretation="srgb").write_to_file(str(path))
    return path


def make_spots(amounts: NDArray[np.float64], seed: int, genes: int = 40) -> ad.AnnData:
    """Count genes that follow haematoxylin, eosin, or nothing, at spots of a square lattice."""
    rng = np.random.default_rng(seed + 100)
    height, width = amounts.shape[1:]
    step = PITCH_UM / MPP
    cx, cy = np.meshgrid(np.arange(step / 2, width, step), np.arange(step / 2, height, step))
    xy = np.column_stack([cx.ravel(), cy.ravel()])
    # Means around spots alone: a blur of the whole slide takes seconds.
    near_y, near_x = (
        np.exp(-0.5 * (np.subtract.outer(at.astype(int), np.arange(n)) / (20 / MPP)) ** 2)
        for at, n in ((cy[:, 0], height), (cx[0], width))
    )
    near_y, near_x = (n / n.sum(axis=1, keepdims=True) for n in (near_y, near_x))
    seen = [(near_y @ a @ near_x.T).ravel() for a in amounts]
    keep = seen[1] > 0.05
    xy = xy[keep]
    drive = np.stack([(s[keep] - s[keep].mean()) / s[keep].std() for s in seen], axis=1)
    loading = np.zeros((2, genes))
    loading[0, : genes // 3] = np.random.default_rng(7).uniform(0.5, 1, genes // 3)
    loading[1, genes // 3 : 2 * genes // 3] = 0.8
    rate = np.exp(2 + drive @ loading)
    counts = rng.poisson(rate * rng.gamma(20, 1 / 20, (len(xy), 1)))
    return ad.AnnData(
        X=sp.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(
            np.rint(xy / step - 0.5),
            columns=["array_x", "array_y"],
            index=[f"s{n}" for n in range(len(xy))],
        ),
        var=pd.DataFrame(index=[f"G{n}" for n in range(genes)]),
        obsm={"spatial": xy},
        uns={"microns_per_pixel": MPP, "spot_diameter_um": 55.0, "spot_pitch_um": PITCH_UM},
    )


def stain_features(slide: Slide, cache: Cache, tissue: TissueKind = "density") -> FeatureSource:
    """Extract the superpixels of `stain`."""
    settings = FeatureSettings(find_encoder("stain"), torch.device("cpu"), cache, tissue)
    features = open_features(slide, settings, Job())
    features.extract()
    return features


def write_section(folder: Path, name: str, shape: tuple[int, int], seed: int = 0) -> Path:
    """Write a synthetic section: an .h5ad, and its JPEG beside it."""
    pixels, amounts = make_slide_pixels(shape, seed)
    write_image(folder / f"{name}_he.jpg[Q=95]", pixels)
    make_spots(amounts, seed).write_h5ad(folder / f"{name}.h5ad")
    return folder / f"{name}.h5ad"
