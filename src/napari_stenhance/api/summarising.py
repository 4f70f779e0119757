"""Numbers of regions, cells and domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.api.keywords import keywords
from napari_stenhance.running.job import Job
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.summarise import SummariseOptions

if TYPE_CHECKING:
    from pandas import DataFrame


@keywords(SummariseOptions)
def summarise(options: SummariseOptions, job: Job, cache: Cache) -> DataFrame:
    """Say in numbers what is in regions, cells or domains: predicted, and measured.

    Returns
    -------
    DataFrame
        A row for each region (cell, domain) and gene:

        - `region` (`cell`, `domain`) and `number`: its name, and its place in the file from 1 on;
          `class` if any has one, as in QuPath; `area_um2`.
        - `gene`, `origin` (predicted, imputed …), `reliability` and `unit`.
        - `superpixels`, `mean`, `sd`: of the gene as it is shown, not below 0, over the superpixels
          whose centre lies in the region and where anything is predicted. A cell in which no centre
          lies takes the superpixel under a point inside it.
        - `spots`, `measured_mean`, `measured_sd` and `measured_unit`: of the spots whose centre
          lies in it, log1p CP10k.
        - Where regions are compared, `against` whom, the `difference` of means and the `effect`,
          the same in pooled standard deviations (Cohen's d); of spots `measured_difference`,
          `measured_effect` and `q`, of Wilcoxon's rank-sum test, adjusted over all measured genes
          by Benjamini and Hochberg. There is no q of predictions: superpixels are no measurements.

        NaN where there is nothing to take it of: no mean without superpixels or spots, no standard
        deviation (of a sample) of one, no q of fewer than 3 spots on either side.

    Raises
    ------
    InputError
        If an input or a keyword cannot be used, or something lies at `csv` or `qupath`.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> from pathlib import Path
    >>> square = '{"type": "Polygon", "coordinates": [[[9, 9], [300, 9], [300, 300], [9, 9]]]}'
    >>> Path("square.geojson").write_text(square)
    76
    >>> numbers = st.summarise("one.stenhance.zarr", regions="square.geojson", genes="G1")
    >>> numbers.loc[0, ["region", "gene", "origin", "unit"]].tolist()
    ['Region 1', 'G1', 'predicted', 'log1p CP10k']
    """
    from napari_stenhance.tasks.summarise import summarise as task

    return task(options, job, cache)
