"""Where the compartments of a phantom lie: smooth fields on the 8 µm grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stenhance.phantoms.noise import smooth

PITCH_UM = 8.0
MPP = 0.5
DOMAINS = ("glass", "tumour", "stroma", "immune", "adipose", "necrosis")
GLASS, TUMOUR, STROMA, IMMUNE, ADIPOSE, NECROSIS = range(len(DOMAINS))
FIELDS = 3

_TUMOUR_SHARE = 0.40
_NECROSIS_SHARE = 0.12
_ADIPOSE_SHARE = 0.14
_IMMUNE_SHARE = 0.16
_LUMEN_SHARE = 0.04


@dataclass(frozen=True)
class Anatomy:
    """Signed margins of each compartment: positive inside, smooth, so that borders are lines.

    A place belongs to the first compartment, of necrosis, tumour, immune, adipose, whose margin is
    positive there; else to stroma. Off the tissue is glass.

    Attributes
    ----------
    seed : int
    size_um : float
        Side of the slide.
    tissue, necrosis, tumour, immune, adipose, lumen : ndarray of float32, shape (n, n)
        Margins at the centres of superpixels.
    fibre : ndarray of float32, shape (n, n)
        Collagen runs along its contours.
    mottle : ndarray of float32, shape (n, n)
        Slow changes of thickness and stain.
    fields : ndarray of float32, shape (3, n, n)
        Smooth fields that some genes follow and the image does not show.
    """

    seed: int
    size_um: float
    tissue: NDArray[np.float32]
    necrosis: NDArray[np.float32]
    tumour: NDArray[np.float32]
    immune: NDArray[np.float32]
    adipose: NDArray[np.float32]
    lumen: NDArray[np.float32]
    fibre: NDArray[np.float32]
    mottle: NDArray[np.float32]
    fields: NDArray[np.float32]

    @classmethod
    def grow(cls, size_um: float, seed: int) -> Anatomy:
        """Draw an anatomy; the share of each compartment is the same for every seed."""
        n = round(size_um / PITCH_UM)

        def noise(name: str, um: float) -> NDArray[np.float32]:
            return smooth(seed, name, (n, n), um / PITCH_UM)

        rough = noise("edge", 10)
        rim, blob = _rim(n)
        tissue = blob + 0.1 * noise("outline", 350) + 0.02 * noise("edge wave", 60)
        tissue = np.minimum(tissue, rim + 0.01 * noise("rim", 120)) + 0.004 * rough
        inside = tissue > 0
        region = noise("region", 500)
        tumour = noise("nests", 62) + 0.6 * noise("buds", 26) + 0.6 * region + 0.08 * rough
        tumour -= np.quantile(tumour[inside], 1 - _TUMOUR_SHARE)
        deep = ndimage.gaussian_filter(np.minimum(tumour, 1.0), 60 / PITCH_UM)
        deep += 0.08 * noise("necrosis", 40) + 0.03 * rough
        necrosis = deep - np.quantile(deep[inside & (tumour > 0)], 1 - _NECROSIS_SHARE)
        adipose = noise("fat", 240) - 0.35 * region + 0.25 * noise("fat edge", 45)
        adipose -= np.quantile(adipose[inside], 1 - _ADIPOSE_SHARE)
        immune = noise("immune", 60) + 0.25 * noise("immune edge", 25) + 0.4 * region
        immune += 0.8 * np.exp(-(((tumour + 0.4) / 0.4) ** 2)) + 0.15 * rough
        elsewhere = inside & (tumour <= 0) & (adipose <= 0)
        immune -= np.quantile(immune[elsewhere], 1 - _IMMUNE_SHARE)
        lumen = noise("lumen", 13) + 0.5 * noise("lumens", 70)
        lumen -= np.quantile(lumen, 1 - _LUMEN_SHARE)
        # A rim of cells lines each lumen, and none opens into the stroma.
        lumen = np.minimum(lumen, 2 * tumour - 0.35)
        return cls(
            seed=seed,
            size_um=size_um,
            tissue=tissue,
            necrosis=np.minimum(necrosis, tumour),
            tumour=tumour,
            immune=immune,
            adipose=adipose,
            lumen=lumen,
            fibre=noise("fibre", 170) + 0.12 * noise("fibre wave", 30),
            mottle=noise("mottle", 60) + 0.6 * noise("mottle wide", 400),
            fields=np.stack([noise(f"field {k}", 300) for k in range(FIELDS)]),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        rows, columns = self.tissue.shape
        return rows, columns

    @cached_property
    def domain(self) -> NDArray[np.uint8]:
        """The compartment of each superpixel, as a number into `DOMAINS`."""
        return domain_of(self.tissue, self.necrosis, self.tumour, self.immune, self.adipose)

    @cached_property
    def fibre_angle(self) -> NDArray[np.float32]:
        """Direction in which collagen runs, in radians from the x axis towards y."""
        down, right = np.gradient(self.fibre)
        return np.arctan2(down, right).astype(np.float32) + np.float32(np.pi / 2)

    def at(self, field: NDArray[np.float32], xy_um: NDArray[np.float64]) -> NDArray[np.float32]:
        """Interpolate a field at positions, (x, y) in micrometres from the slide's corner."""
        row_column = xy_um[:, ::-1].T / PITCH_UM - 0.5
        values: NDArray[np.float32] = ndimage.map_coordinates(
            field, row_column, order=1, mode="nearest"
        )
        return values

    def domain_at(self, xy_um: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the compartment at positions."""
        margins = (self.tissue, self.necrosis, self.tumour, self.immune, self.adipose)
        return domain_of(*(self.at(m, xy_um) for m in margins))


def domain_of(
    tissue: NDArray[np.float32],
    necrosis: NDArray[np.float32],
    tumour: NDArray[np.float32],
    immune: NDArray[np.float32],
    adipose: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Return the compartment that margins stand for."""
    conditions = [tissue <= 0, necrosis > 0, tumour > 0, immune > 0, adipose > 0]
    numbers = [np.uint8(k) for k in (GLASS, NECROSIS, TUMOUR, IMMUNE, ADIPOSE)]
    return np.select(conditions, numbers, np.uint8(STROMA))


def _rim(n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return distance from the slide's edge, less the least rim of glass; and a rounded square.

    Both are positive inside and in units of half the slide.
    """
    at = np.abs((np.arange(n, dtype=np.float32) + 0.5) / n * 2 - 1)
    rim = np.minimum(0.96 - at[:, None], 0.96 - at[None])
    radius = ((at[:, None] / 0.88) ** 3 + (at[None] / 0.88) ** 3) ** (1 / 3)
    return rim, (1 - radius).astype(np.float32)
