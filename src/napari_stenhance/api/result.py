"""What was computed for one section, as people look at it: genes as images, spots as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.api.believing import gene_above, gene_interval, unfamiliar_image
from napari_stenhance.api.images import depth_image, gene_image, label_image, similarity_image
from napari_stenhance.api.keywords import as_method
from napari_stenhance.api.saying import as_html, from_here, said_in_short
from napari_stenhance.api.showing import figure, script
from napari_stenhance.api.summarising import summarise
from napari_stenhance.api.tables import by_gene, held_out_table, table_of
from napari_stenhance.errors import InputError
from napari_stenhance.results.domains import CONFIDENCE, LABEL, DomainRun, domain_run
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.run import Run
from napari_stenhance.results.runs import every_run, gene_run
from napari_stenhance.results.tables import read_table
from napari_stenhance.section.region import Region

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd
    import xarray as xr

    from napari_stenhance.scoring.discoveries import Scale
    from napari_stenhance.section.section import Section


class Result:
    """A result folder, as it is looked at.

    Genes are those of one run, domains those of another: the run that made this object, or that
    `run` chose, where it has genes or domains; else the newest that is complete. Gene fields come
    before imputed tables, and those of the whole slide before those of a region.

    Attributes
    ----------
    folder : ResultFolder
        All that is in it.
    run_name : str
        The run that was chosen; empty for the newest of each kind.

    Examples
    --------
    >>> result = st.Result.open("one.stenhance.zarr")
    >>> result.runs
    ('pixel2gene-stain-robust',)
    >>> image = result["G1"]
    >>> image.dims, image.attrs["unit"]
    (('y', 'x'), 'log1p CP10k')
    """

    def __init__(self, folder: Any, run_name: str = "") -> None:
        if not isinstance(folder, ResultFolder):
            msg = f"Result({str(folder)!r}): a folder is opened with Result.open."
            raise InputError(msg)
        # The working folder may change, and this is still the same result.
        here = folder.path.absolute()
        self.folder = folder if folder.path == here else ResultFolder.open(here, folder.tiles)
        self.run_name = run_name

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle it as what it is: a look at a folder, which is opened again."""
        return _opened, (self.path, self.run_name)

    @classmethod
    def open(cls, path: str | Path) -> Result:
        """Open a result folder, to read it.

        Raises
        ------
        InputError
            If there is none, or it was written by a newer version.
        """
        given: object = path
        if not isinstance(given, str | Path):
            msg = f"A result is opened by the path of its folder, and not {type(given).__name__}."
            raise InputError(msg)
        return cls(ResultFolder.open(path))

    # What is in it

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder.path

    @property
    def name(self) -> str:
        """Name of the slide, or of spots that have none."""
        return self.folder.name

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the runs that are complete: of fields, imputations and domains, oldest first."""
        return tuple(run.name for run in self._runs)

    def run(self, name: str) -> Result:
        """Return the same result, with the genes or the domains of one run.

        Raises
        ------
        InputError
            If there is no such run that is complete.
        """
        if name not in self.runs:
            names = ", ".join(self.runs) or "none"
            msg = f"{self.path}: there is no complete run {name!r}; there are: {names}."
            raise InputError(msg)
        return Result(self.folder, name)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What was guessed or left out, or makes the run less to be trusted; without one, any."""
        runs = [r for r in self._runs if self.run_name in {"", r.name}]
        return tuple(dict.fromkeys(doubt for run in runs for doubt in run.doubts))

    @cached_property
    def _runs(self) -> tuple[Run, ...]:
        return tuple(run for run in every_run(self.folder) if run.complete)

    @property
    def _chosen(self) -> Run | None:
        return next((run for run in self._runs if run.name == self.run_name), None)

    @cached_property
    def _of_genes(self) -> GeneSource:
        """The run whose genes are shown."""
        chosen = self._chosen
        return chosen if isinstance(chosen, GeneSource) else gene_run(self.folder)

    @cached_property
    def _of_domains(self) -> DomainRun:
        """The run whose domains are shown."""
        chosen = self._chosen
        return chosen if isinstance(chosen, DomainRun) else domain_run(self.folder)

    # Genes

    @property
    def genes(self) -> tuple[str, ...]:
        """Genes that can be shown."""
        return self._of_genes.genes

    @property
    def held_out_r(self) -> pd.Series[float]:
        """Pearson's r of each gene where it was measured and hidden, by gene; NaN if not known."""
        return by_gene(self._of_genes, "held_out_r")

    @property
    def held_out_r_given_depth(self) -> pd.Series[float]:
        """The same with the log total count of the spots held constant."""
        return by_gene(self._of_genes, "held_out_r_given_depth")

    @property
    def held_out(self) -> pd.DataFrame:
        """Both, by gene; of runs that keep held-out spots also what follows from these.

        `told_from_depth`: r given depth is above 0 by its error (1.645 standard errors).
        `interval_coverage`: share of spots within `interval`, calibrated on other blocks (at most
        1 mm) of the sections learned from; on other slides as far as they are like these.
        """
        return held_out_table(self._of_genes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.genes)

    def __contains__(self, gene: object) -> bool:
        return gene in self.genes

    def __getitem__(self, gene: str) -> xr.DataArray:
        """Return the image of a gene, or of a sum of genes such as `ERBB2 + GRB7 - ALB`.

        Parameters
        ----------
        gene : str
            A gene, or sums and differences of genes, which numbers may multiply or divide, and
            `mean(A, B, C)`, the score of a set: of what `result[...]` shows of each gene. Names of
            genes come first, as `HLA-A`.

        Returns
        -------
        DataArray of float32, dims (y, x)
            In the unit that `attrs["unit"]` says. `y` and `x` are the centres of superpixels in
            micrometres (pixels, where no scale is known: `x.attrs["units"]` says which), 0 is the
            centre of the slide's first pixel. NaN where nothing was predicted. Attributes: gene,
            unit, run, method, held_out_r, held_out_r_given_depth, doubts. Of an imputed gene each
            pixel shows the nearest spot. Of a sum both r are NaN, for they are not known:
            `weights`, `held_out_r_of_genes` and `held_out_r_given_depth_of_genes` are of its genes.

        Raises
        ------
        InputError
            If there is no such gene.
        """
        return gene_image(self._of_genes, gene)

    def spread(self, gene: str) -> xr.DataArray:
        """Return how far the members of the ensemble are apart, gene by gene as `result[gene]`.

        Returns
        -------
        DataArray of float32, dims (y, x)
            A standard deviation in the gene's unit: it ranks places, and is no interval. Its name
            is that of the gene and "spread".

        Raises
        ------
        InputError
            If there is no such gene.
        """
        return gene_image(self._of_genes, gene, "spread")

    def depth(self) -> xr.DataArray:
        """Return how much a spot around each superpixel would count in all, as the image shows it.

        Much is counted where cells lie densely, and where they are active: it is a picture of
        cellularity, in the unit of the sections that were learned from. Genes of a run with preset
        robust are learned beside it.

        Returns
        -------
        DataArray of float32, dims (y, x)
            Total counts of a spot (of the size that was learned from). NaN where nothing was
            predicted.

        Raises
        ------
        InputError
            If the run did not learn depth: published presets, bins with few counts, imputations,
            and runs of older versions.

        Examples
        --------
        >>> st.Result.open("one.stenhance.zarr").depth().attrs["unit"]
        'counts per spot'
        """
        return depth_image(self._of_genes)

    def unfamiliar(self) -> xr.DataArray:
        """Return how far the tissue of each superpixel lies from what was learned from.

        1 is what 95 % of the training tissue stays within, on blocks that were left out. Beyond
        it, what is predicted is a guess; within it nothing is promised (see `interval`).

        Returns
        -------
        DataArray of float32, dims (y, x)
            NaN where nothing was predicted; `attrs["share"]` is how much lies beyond 1.

        Raises
        ------
        InputError
            If the run does not know: preset reference, imputations, runs of older versions.

        Examples
        --------
        >>> far = st.Result.open("one.stenhance.zarr").unfamiliar()
        >>> float((far > 1).sum() / far.notnull().sum()) < 0.2
        True
        """
        return unfamiliar_image(self._of_genes)

    def interval(self, gene: str) -> xr.DataArray:
        """Return between which values nine in ten spots would be measured.

        Of a spot that lay around each superpixel, and not of the superpixel: of so small a piece of
        tissue nothing was measured that could say it. Calibrated for each gene, and for like
        predictions of it, with spots of the training sections that were held out; on other slides
        it holds as far as these are like them. `spread` is something else: how far the members of
        the ensemble disagree.

        Parameters
        ----------
        gene : str
            One gene of a run with preset robust.

        Returns
        -------
        DataArray of float32, dims (end, y, x)
            `end` is "low" and "high"; in the gene's unit. NaN where nothing was predicted.

        Raises
        ------
        InputError
            If there is no such gene, or the run keeps no held-out spots.
        """
        return gene_interval(self._of_genes, gene)

    def above(self, gene: str, value: float, scale: Scale = "spot") -> xr.DataArray:
        """Mark where a gene is above a value, so that at most one in ten of the marked is wrong.

        The cut is chosen with held-out spots: at a confidence of nine in ten, at most one in ten of
        the places from it on was measured at the value or below. Where no cut can promise that,
        nothing is marked, and `attrs["said"]` says so.

        Parameters
        ----------
        gene : str
            One gene of a run with preset robust.
        value : float
            In the gene's unit.
        scale : {"spot", "8 spots", "region"}
            What is above it: a spot, the mean of the 8 nearest spots, or that of all spots within
            half a millimetre. Around each superpixel predictions are averaged alike.

        Returns
        -------
        DataArray of float32, dims (y, x)
            1 where it is marked, 0 elsewhere, NaN where nothing was predicted. Attributes: value,
            scale, cut (infinite if none), marked, wrong and places, of held-out ones; said.

        Raises
        ------
        InputError
            If there is no such gene or scale, no held-out spots, or the value is no number.
        """
        return gene_above(self._of_genes, gene, value, scale)

    def to_anndata(
        self,
        at: str | Path | Section | ad.AnnData | None = None,
        genes: str | Sequence[str] | None = None,
    ) -> ad.AnnData:
        """Return the predictions at spots, for scanpy.

        Parameters
        ----------
        at : str, Path, Section or AnnData
            The spots, of any section of this slide: predictions are averaged over the superpixels
            under each. By default those that this result holds, as one of an imputation, of
            domains, does.
        genes : str or sequence of str
            One gene, or several; by default all.

        Returns
        -------
        AnnData
            Of a gene field, `X` (spots, genes) float32 in the unit of the run, `var["held_out_r"]`,
            `obsm["spatial"]` in full-resolution pixels, `obs` as the spots have it, and
            `obs["superpixels"]`, how many were averaged, 0 where the spot lies off the tissue and
            has the nearest prediction. Of an imputation its table: expected counts,
            `layers["log1p_cp10k"]`, `var["imputed"]`. Of a run of domains that was chosen, the
            spots as they were given, with `obs["domain"]`.

        Raises
        ------
        InputError
            If there are no spots, they belong to another slide, or a gene is not there.
        """
        run = self._chosen or self._of_genes
        return table_of(run, at, [genes] if isinstance(genes, str) else genes)

    def to_spatialdata(
        self,
        genes: str | Sequence[str] | None = None,
        at: str | Path | Section | ad.AnnData | None = None,
        out: str | Path | None = None,
    ) -> Any:
        """Write a SpatialData store and open it with spatialdata (the extra of that name).

        Parameters
        ----------
        genes : str or sequence of str
            One gene, or several, whose images are written.
        at : str, Path, Section or AnnData
            Spots whose predictions are written as a table, as `to_anndata` makes it. An imputation
            and domains have their own.
        out : str or Path
            The store; by default `NAME.sdata.zarr` in the working folder. Nothing is overwritten.

        Returns
        -------
        spatialdata.SpatialData
            Lazy: it reads from `out`. Its system "global" is in micrometres.

        Raises
        ------
        InputError
            If spatialdata is not installed, neither genes nor spots are named, a gene is not there,
            or something lies at `out`.
        """
        from napari_stenhance.api.spatialdata import run_as_spatialdata

        run = self._chosen or self._of_genes
        named = [genes] if isinstance(genes, str) else genes
        return run_as_spatialdata(run, named, at, None if out is None else Path(out))

    summarise = as_method(summarise)

    def similar_to(self, region: str | Path | Region) -> xr.DataArray:
        """Return how like a region each superpixel is predicted to be, over all genes.

        Parameters
        ----------
        region : str, Path or Region
            GeoJSON, of whose polygons all are taken as one.

        Returns
        -------
        DataArray of float32, dims (y, x)
            The cosine between two differences from the tissue's mean, of what is predicted before
            it is clipped at 0: that of a superpixel, and that of the region. 1 is alike, 0 unlike,
            -1 the opposite; NaN where nothing was predicted.

        Raises
        ------
        InputError
            If the region cannot be read, nothing is predicted in it, it is as the tissue's mean, or
            the run has no gene field.
        """
        run = self._of_genes
        if not isinstance(region, Region):
            of = run.result.attributes.get("slide")
            region = Region.read(region, run.grid.mpp, None if of is None else tuple(of["shape"]))
        return similarity_image(run, region)

    # Domains

    @property
    def labels(self) -> pd.Series[Any] | xr.DataArray:
        """The domain of every observation that domains were found in.

        Of spots, a categorical Series by their ids, in the order of the input; of superpixels, the
        raster that `label_image` is.
        """
        spots = self._obs()
        return self.label_image if spots is None else spots[LABEL]

    @property
    def confidence(self) -> pd.Series[float]:
        """Share of the trainings that agree on each spot's domain, from 0 to 1, by the spots' ids.

        NaN where nothing says: of all spots if there was a single training, as with `runs=1` and
        the preset reference, and of spots that were repainted.

        Raises
        ------
        InputError
            If the domains are of superpixels.
        """
        spots = self._obs()
        if spots is None or CONFIDENCE not in spots:
            msg = (
                f"{self.path}: the run {self._of_domains.name} keeps no confidence of its domains."
            )
            raise InputError(msg)
        return spots[CONFIDENCE]

    @property
    def label_image(self) -> xr.DataArray:
        """The domains as an image (y, x) of uint8, 0 where there is none; `attrs` names them."""
        return label_image(self._of_domains)

    def _obs(self) -> pd.DataFrame | None:
        key = self._of_domains.attributes["spots"]
        return None if key is None else read_table(self.folder.group, f"tables/{key}/obs")

    # People

    figure = as_method(figure)
    script = as_method(script)

    def view(self) -> None:
        """Open it in napari, and come back when napari is closed.

        Raises
        ------
        InputError
            If there is no display, or no Qt binding is installed.
        """
        from napari_stenhance.plugin.desktop import look, need_display

        need_display()
        look([self.path])

    def __repr__(self) -> str:
        return f"<Result {from_here(self.path)!r}: {'; '.join(self._said())}>"

    def _repr_html_(self) -> str:
        return as_html(self.path, self._said(), lambda: (self.name, self.doubts))

    def _said(self) -> list[str]:
        """Say in a few words what can be looked at."""
        return said_in_short(lambda: self._runs, lambda: self._of_genes, lambda: self._of_domains)


def _opened(path: Path, run_name: str) -> Result:
    return Result(ResultFolder.open(path), run_name)
