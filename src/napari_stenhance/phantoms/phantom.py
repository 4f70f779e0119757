"""A phantom on disk: what its folder holds, and what is true of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.phantoms.genes import NAMED, Program
from napari_stenhance.phantoms.rare import RareGenes
from napari_stenhance.phantoms.truth import logged
from napari_stenhance.section.formats.phantom import MANIFEST

CELLS = "cells.h5ad"
REFERENCE = "reference.h5ad"
TRUTH = "truth.zarr"
VISIUM_HD = "visium_hd"
VERSION = 1


@dataclass(frozen=True)
class Phantom:
    """A synthetic section whose expression is known everywhere.

    Its folder is a section that opens as any other does.

    Attributes
    ----------
    folder : Path
        `he.tif` (the slide, its right part unmeasured), `spots.h5ad` (as Visium: 55 µm at 100 µm),
        `bins.h5ad` (8 µm), `cells.h5ad` (types, nuclei and their outlines), `reference.h5ad`
        (single cells with their types), `truth.zarr`; with rare genes also `visium_hd`, the bins as
        Space Ranger writes them.
    seed : int
    size_mm : float
        Side of the slide.
    mpp : float
        Micrometres per pixel.
    pitch_um : float
        Side of a superpixel of the truth's grid, whose corner is the slide's.
    measured_genes : int
        How many spots and bins measure: the 200 named ones, and rare ones beside them.
    """

    folder: Path
    seed: int
    size_mm: float
    mpp: float
    pitch_um: float
    measured_genes: int = NAMED

    @classmethod
    def open(cls, folder: str | Path) -> Phantom:
        """Open what `write_phantom` wrote.

        Raises
        ------
        InputError
            If it is no phantom, or one of another version.
        """
        folder = Path(folder)
        try:
            manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
            version = manifest.pop("version")
            phantom = cls(folder, **manifest)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"{folder}: this is no phantom ({MANIFEST} cannot be read: {error})."
            raise InputError(msg) from error
        if version != VERSION:
            msg = f"{folder}: a phantom of version {version}, not {VERSION}; make it again."
            raise InputError(msg)
        return phantom

    def manifest(self) -> dict[str, Any]:
        """Return what identifies the phantom, as `phantom.json` holds it."""
        return {
            "version": VERSION,
            "seed": self.seed,
            "size_mm": self.size_mm,
            "mpp": self.mpp,
            "pitch_um": self.pitch_um,
            "measured_genes": self.measured_genes,
        }

    @cached_property
    def _truth(self) -> zarr.Group:
        return zarr.open_group(self.folder / TRUTH, mode="r")

    @cached_property
    def _rare(self) -> RareGenes:
        return RareGenes(self.measured_genes - NAMED, Program())

    @property
    def genes(self) -> tuple[str, ...]:
        """All genes: the 200 named that spots and bins measure, 40 that only single cells do, rare.

        Rare ones, if there are any, are measured by all three.
        """
        return (*self._truth.attrs["genes"], *self._rare.names)  # type: ignore[misc]

    @property
    def follows(self) -> tuple[str, ...]:
        """What each gene follows: cell type, cell type and compartment, smooth field, nothing."""
        return (*self._truth.attrs["follows"], *self._rare.follows)  # type: ignore[misc]

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the compartments, by their number; 0 is glass."""
        return tuple(self._truth.attrs["domains"])  # type: ignore[arg-type]

    @cached_property
    def domain(self) -> NDArray[np.uint8]:
        """The compartment of each superpixel, shape (rows, columns)."""
        return np.asarray(self._raster("domain")[...])

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """Where the assay measured, shape (rows, columns): the left part, glass included."""
        measured = np.zeros(self.domain.shape, bool)
        measured[:, : int(self._truth.attrs["measured_columns"])] = True  # type: ignore[arg-type]
        return measured

    def expression(
        self, genes: Sequence[str], rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[np.float32]:
        """Read true expression: log1p of transcripts per 10,000 of the measured genes.

        Parameters
        ----------
        genes : sequence of str
        rows, columns : slice
            Of the 8 µm grid.

        Returns
        -------
        ndarray of float32, shape (genes, rows, columns)
            NaN off the tissue.

        Raises
        ------
        InputError
            If the phantom has no such gene.
        """
        position = {gene: n for n, gene in enumerate(self.genes)}
        lost = [gene for gene in genes if gene not in position]
        if lost:
            msg = f"{self.folder}: the phantom has no gene {lost[0]!r}."
            raise InputError(msg)
        chosen = np.array([position[gene] for gene in genes], np.intp)
        named = len(position) - self._rare.number
        values = np.empty((len(chosen), *self.domain[rows, columns].shape), np.float32)
        values[chosen < named] = self._raster("expression").oindex[
            chosen[chosen < named], rows, columns
        ]
        if (chosen >= named).any():
            amounts, library = (
                np.asarray(self._raster(name)[rows, columns], np.float32)
                for name in ("amounts", "library")
            )
            weights = self._rare.of_states[:, chosen[chosen >= named] - named]
            rates = np.moveaxis(amounts @ weights, -1, 0)
            values[chosen >= named] = logged(rates, library)
        return values

    def _raster(self, name: str) -> zarr.Array[Any]:
        raster = self._truth[name]
        assert isinstance(raster, zarr.Array)
        return raster
