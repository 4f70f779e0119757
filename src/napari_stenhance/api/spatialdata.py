"""A run as a SpatialData object: written to a store, and opened by the library of that name."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_stenhance.api.tables import table_of
from napari_stenhance.errors import InputError
from napari_stenhance.results.domains import DomainRun
from napari_stenhance.results.export_format import ExportImage, export_whole
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.imputed import ImputedRun
from napari_stenhance.results.run import Run
from napari_stenhance.running.job import Job
from napari_stenhance.storage.atomic import need_free


def run_as_spatialdata(run: Run, genes: Sequence[str] | None, at: Any, out: Path | None) -> Any:
    """Write a run as a SpatialData store and open that; see `Result.to_spatialdata`.

    Raises
    ------
    InputError
        If the library is not installed, nothing is named that could be written, or something lies
        at `out`.
    """
    if importlib.util.find_spec("spatialdata") is None:
        msg = (
            "spatialdata, which needs Python 3.12, is not installed: "
            'pip install "napari-stenhance[spatialdata]", or write a store without it, '
            "with export(to='spatialdata')."
        )
        raise InputError(msg)
    result = run.result
    if out is None:
        stem = result.path.name.removesuffix(".zarr").removesuffix(".stenhance")
        out = Path(f"{stem}.sdata.zarr")
    need_free(out)
    image = table = None
    if genes is not None and isinstance(run, GeneSource):
        image = ExportImage.from_genes(run, genes)
    # A gene field holds no spots; other runs have their own.
    if at is not None or isinstance(run, ImputedRun | DomainRun):
        table = table_of(run, at, genes)
    if image is None and table is None:
        msg = f"{result.path}: name genes, whose images are written, or spots to average them over."
        raise InputError(msg, option="genes")
    of = result.attributes.get("slide") or result.attributes["spots"]
    export_whole(image, table, of["mpp"], out, "spatialdata", Job())
    import spatialdata

    return spatialdata.read_zarr(out)
