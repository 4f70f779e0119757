"""What `fuzz.py` damages of results: any file of a tiny one, read in every way that there is."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fuzz_damage import Target
from fuzz_tables import dense
from napari_stenhance.methods.registry import load_fitted
from napari_stenhance.results.attention import written_attention
from napari_stenhance.results.domains import domain_run
from napari_stenhance.results.genes import gene_group, written_genes
from napari_stenhance.results.imputed import imputed_run
from napari_stenhance.results.inputs import find_section, slide_path
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun, field_run
from napari_stenhance.results.tables import open_table
from napari_stenhance.running.job import Job
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.pyramid import open_levels
from napari_stenhance.tasks.info import describe_result, verify_result
from tiny_result import DOMAINS, IMPUTED, RUN, as_format_1, make_result

NAME = "tiny.stenhance.zarr"


def _values(levels: Any) -> list[Any]:
    return [np.asarray(level[...]) for level in levels]


def _table(table: Any) -> Any:
    layers = {name: dense(values) for name, values in table.layers.items()}
    columns = [table.obs[name].astype(object).to_numpy() for name in table.obs]
    return (
        *(list(table.obs_names), list(table.var_names), dense(table.X), layers),
        *(list(table.obs), [list(map(str, column)) for column in columns]),
    )


def read_root(folder: Path) -> Any:
    result = ResultFolder.open(folder / NAME)
    about = [result.run_attributes(run) for run in result.runs]
    # The log is a hint without a checksum: any path, or none, may come out of it.
    slide_path(result)
    find_section(result)
    return result.attributes, about, result.has_slide


def read_field(folder: Path) -> Any:
    result = ResultFolder.open(folder / NAME)
    field = field_run(result).field
    images = [field.image(g, level) for g in field.genes for level in range(len(field.latent))]
    spread = field.image("A", what="spread")
    at = field.latent_of(np.array([3, 80]), np.array([5, 60]))
    return field.genes, field.unit, field.decoder.held_out_r, images, spread, at


def read_images(folder: Path) -> Any:
    result = ResultFolder.open(folder / NAME)
    result.field(RUN)
    run = FieldRun(result, RUN)
    genes = written_genes(run)
    groups = [gene_group(run, gene) for gene in genes]
    images = [_values(open_levels(group)) for group in groups if group is not None]
    seen = {size: _values(levels) for size, levels in written_attention(result, RUN).items()}
    region, lattice = result.region(RUN), _table(open_table(result, f"{RUN}-lattice2"))
    return genes, images, seen, result.tissue(RUN), region is None or region.to_json(), lattice


def read_domains(folder: Path) -> Any:
    run = domain_run(ResultFolder.open(folder / NAME))
    spots, summary = run.spots(), run.summary()
    assert spots is not None
    about = (run.name, [vars(d) for d in run.domains], run.grid.to_json(), run.criterion)
    return about, _values(run.levels), _table(spots), _table(run.table()), list(summary.index)


def read_imputed(folder: Path) -> Any:
    run = imputed_run(ResultFolder.open(folder / NAME))
    values = [run.values(gene, layer) for gene in run.genes for layer in ("log1p_cp10k", "spread")]
    images = [_values(open_levels(gene_group(run, gene))) for gene in written_genes(run)]  # type: ignore[arg-type]
    return (
        run.name,
        run.attributes,
        run.genes,
        values,
        _values(run.index),
        images,
        _table(run.table()),
    )


def read_model(folder: Path) -> Any:
    fitted = load_fitted(ResultFolder.open(folder / NAME).model_folder(RUN), torch.device("cpu"))
    weights = [w.detach().numpy() for w in fitted.network.weights]  # type: ignore[attr-defined]
    decoder = fitted.decoder
    return weights, fitted.pitch_um, fitted.encoder, decoder.genes, decoder.weights, decoder.bias


def read_info(folder: Path) -> Any:
    result = ResultFolder.open(folder / NAME)
    return describe_result(result), verify_result(result, Job())


def _make_tiny(folder: Path) -> None:
    make_result(folder, Cache(folder / "cache"))
    # It is copied for each target.
    shutil.rmtree(folder / "cache")


def _targets(name: str, read: Callable[[Path], Any], *parts: str) -> tuple[Target, Target]:
    """Damage files under some parts of a result, and of one of format 1."""
    return _target(name, read, *parts), _target(name, read, *parts, old=True)


def _target(name: str, read: Callable[[Path], Any], *parts: str, old: bool = False) -> Target:
    """Damage files under some parts of the result; what is read must be right or refused.

    Without checksums, in format 1, other values may come out, but nothing else.
    """

    def make(folder: Path) -> list[Path]:
        root = folder / NAME
        if old:
            as_format_1(root)
        # Damage to the log does not matter, so something is always right.
        files = [f for part in (LOG, *parts) for f in [root / part, *(root / part).rglob("*")]]
        return sorted({f for f in files if f.is_file()})

    def quiet(folder: Path) -> Any:
        with warnings.catch_warnings(action="ignore"):
            return read(folder)

    return Target(
        f"{name}-1" if old else name,
        make,
        quiet,
        lambda _value, _undamaged: old,
        cases=30 if old else 300,
        base=_make_tiny,
    )


FIELD, LOG, MANIFESTS = f"fields/{RUN}", "files/log.jsonl", "files/manifests"
TARGETS = (
    *_targets("result-root", read_root, "zarr.json", "fields/zarr.json", f"{FIELD}/zarr.json"),
    *_targets("result-field", read_field, FIELD, f"{MANIFESTS}/fields"),
    *_targets(
        "result-images",
        read_images,
        *(f"{FIELD}/genes", f"{FIELD}/attention", "tissue"),
        *("files/regions", f"tables/{RUN}-lattice2"),
    ),
    *_targets(
        "result-domains",
        read_domains,
        *("labels", "tables/spots", f"tables/{DOMAINS}", f"{MANIFESTS}/labels"),
    ),
    *_targets(
        "result-imputed", read_imputed, "imputed", f"tables/{IMPUTED}", f"{MANIFESTS}/imputed"
    ),
    *_targets("result-model", read_model, "files/models"),
    *_targets("result-info", read_info, "."),
)
