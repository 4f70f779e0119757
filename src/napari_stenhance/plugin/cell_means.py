"""Cells of outlines that were opened, coloured by the mean of a gene in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import shapely
from numpy.typing import NDArray

from napari_stenhance.plugin.cells import CellRaster
from napari_stenhance.plugin.colours import Colours
from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, Role
from napari_stenhance.plugin.spots import raster_layer
from napari_stenhance.results.region_groups import lay_regions
from napari_stenhance.results.region_numbers import RegionGroups, covered_moments
from napari_stenhance.section.outlines import CellOutlines
from napari_stenhance.section.spots import SpotGeometry

if TYPE_CHECKING:
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.named_regions import NamedRegions

CELLS = Role("cells", 6)


@dataclass(frozen=True, eq=False)
class CellMeans(Colours):
    """The mean of what is shown of a gene over the superpixels of each cell.

    Attributes
    ----------
    run : GeneSource
    cells : NamedRegions
    groups : RegionGroups
        Where the cells lie on the grid of the run.
    file : str
        What the cells are called: the name of their file.
    """

    run: GeneSource
    cells: NamedRegions
    groups: RegionGroups
    file: str
    kind: ClassVar[str] = "predicted, mean in each cell"

    @cached_property
    def genes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the run."""
        return self.run.genes

    @cached_property
    def unit(self) -> str:  # type: ignore[override]
        """That of the run."""
        return self.run.unit

    @cached_property
    def aliases(self) -> Mapping[str, str]:  # type: ignore[override]
        """Those of the run."""
        return self.run.aliases

    def _values_of(self, gene: str) -> NDArray[np.float32]:
        """Take the image of a gene, or of a sum, as it is shown."""
        (found,) = covered_moments(self.run.levels(gene), self.groups.cover, None)
        return found.mean.astype(np.float32)

    def _values(self, gene: str) -> NDArray[np.float32]:
        return self._values_of(gene)

    def label(self, _name: str, gene: str) -> str:
        """Name the layer of the cells."""
        return f"{self.names.label(gene)} · cells of {self.file} · {self.run.result.name}"


def cells_layer(run: GeneSource, cells: NamedRegions, file: str, gene: str, job: Job) -> LayerData:
    """Make the layer of cells: each by its outline where zoomed in, else means of those in a pixel.

    Parameters
    ----------
    run : GeneSource
    cells : NamedRegions
        In micrometres.
    file : str
        What they are called.
    gene : str
        What colours them at first.
    job : Job
    """
    import anndata as ad

    mpp = run.grid.mpp
    groups = lay_regions(run, cells, None, "cell", job)
    middles = shapely.get_coordinates(shapely.point_on_surface(cells.areas)) / mpp
    width = 2 * float(np.sqrt(np.median(shapely.area(cells.areas)) / np.pi))
    spots = ad.AnnData(np.zeros((len(cells), 0), np.float32), obsm={"spatial": middles})
    ids = list(spots.obs_names)
    areas = shapely.transform(cells.areas, lambda um: um / mpp)
    raster = CellRaster.of_spots(
        spots,
        SpotGeometry(width, "disc", width, "micrometer"),
        mpp,
        file,
        lambda: CellOutlines.from_shapes(ids, areas).of(ids),
    )
    colours = CellMeans(run, cells, groups, file)
    name = run.result.name
    info = LayerInfo(CELLS, name, run=run, part=file, gene=gene, colours=colours, raster=raster)
    return raster_layer(gene, colours.label(name, gene), mpp, info)


def said_of_cells(info: LayerInfo, seen: NDArray[np.int64], value: float) -> str:
    """Say the value that is seen, and of which cell it is."""
    assert isinstance(info.colours, CellMeans)
    said = f"{info.colours.said(info.gene)}: {value:.2f}"
    if len(seen) > 1:
        return f"{said}, of {len(seen)} cells"
    return f"{info.colours.cells.names[seen[0]]}, {said}"
