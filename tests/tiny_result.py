"""A tiny result with everything that results hold, made without training anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import shapely
import torch

from made_sections import make_slide_pixels, write_image
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.ensemble import Ensemble
from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
from napari_stenhance.results.attention import write_attention_tile, written_attention
from napari_stenhance.results.domains import DomainRunContent, new_domains, write_run
from napari_stenhance.results.field import GeneField
from napari_stenhance.results.genes import write_gene
from napari_stenhance.results.imputed_table import GeneColumns, ImputedTable
from napari_stenhance.results.imputed_writing import write_imputation
from napari_stenhance.results.label_map import raster_labels
from napari_stenhance.results.lattice import write_lattice
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.results.summaries import Expression
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.region import Region
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.pyramid import coarsen_all, mean_pool
from napari_stenhance.storage.tiles import missing_tiles, tile_size, tiles_of, write_tile

GRID = Grid(16.0, (90, 70), 1.0)
RANK, GENES = 3, ("A", "B", "C/c")
RUN, DOMAINS, IMPUTED = "pixel2gene-stain-robust", "stamgc-robust", "sinca-robust"


def make_result(folder: Path, cache: Cache) -> Path:
    """Write `tiny.stenhance.zarr` into a folder, the same each time."""
    pixels, _ = make_slide_pixels((90 * 16, 70 * 16), 0)
    slide = Slide.open(write_image(folder / "slide.png", pixels), mpp=1.0, cache=cache)
    path = folder / "tiny.stenhance.zarr"
    with ResultFolder.writing(path, slide, "m-e-p") as result:
        result.log("slide", path=slide.path)
        _add_field(result)
        _add_domains(result)
        _add_imputed(result)
    return path


def as_format_1(root: Path) -> None:
    """Make of a result what format 1 would have written: no checksum anywhere, no manifest."""
    shutil.rmtree(root / "files" / "manifests")
    for file in root.rglob("zarr.json"):
        about = json.loads(file.read_text("utf-8"))
        codecs = about.get("codecs", [])
        if codecs and codecs[-1]["name"] == "crc32c":
            about["codecs"] = codecs[:-1]
            # The chunk of a single value is the file "c".
            for chunk in (file.parent / "c", *(file.parent / "c").rglob("*")):
                if chunk.is_file():
                    chunk.write_bytes(chunk.read_bytes()[:-4])
        ours = about["attributes"].get("stenhance", {})
        ours.pop("crc32", None)
        if "format_version" in ours:
            ours["format_version"] = 1
        file.write_text(json.dumps(about), "utf-8")
    for file in root.glob("files/models/*/config.json"):
        config = json.loads(file.read_text("utf-8"))
        del config["crc32"], config["weights_crc32"]
        file.write_text(json.dumps(config), "utf-8")


def make_decoder() -> Decoder:
    rng = np.random.default_rng(0)
    return Decoder(
        genes=GENES,
        weights=rng.standard_normal((RANK, len(GENES))).astype("f4"),
        bias=np.ones(len(GENES), "f4"),
        unit="log1p CP10k",
        held_out_r=np.array([0.5, 0.25, np.nan], "f4"),
        held_out_r_given_depth=np.array([0.25, 0.125, np.nan], "f4"),
        spread_scale=np.ones(len(GENES), "f4"),
    )


def _identity() -> dict[str, Any]:
    recipe = {"folds": 4}
    learned = [{"name": "one"}]
    return {"method": "pixel2gene", "preset": "robust", "recipe": recipe, "learned_from": learned}


def _add_field(result: ResultFolder) -> None:
    decoder, provenance = make_decoder(), {"seed": 0, "versions": {}, "doubts": ["A doubt."]}
    run = result.start_run(RUN, _identity(), provenance, GRID)
    result.save_region(run, Region.from_shapes([shapely.box(0, 0, 900, 900)]))
    result.save_model(run, make_model(decoder).save)
    result.write_tissue(np.ones(GRID.shape, bool), GRID)
    field = result.create_field(run, decoder, GRID)
    fill_field(field)
    attention = np.random.default_rng(3).random((*GRID.shape, 1))
    for tile in tiles_of(GRID.shape, tile_size(field.latent[0])):
        here = attention[tile.rows, tile.columns]
        write_attention_tile(result, run, field, (112.0,), tile, here)
    for levels in written_attention(result, run).values():
        coarsen_all(levels, mean_pool)
    result.complete_run(run, Job())
    write_gene(FieldRun(result, run), "C/c", Job())
    write_lattice(result, run, 2, make_lattice())


def fill_field(field: GeneField) -> None:
    rng = np.random.default_rng(1)
    for raster in (field.spread, field.latent):
        for tile in missing_tiles(raster[0]):
            write_tile(raster[0], tile, rng.random((*tile.shape, RANK)))
        coarsen_all(raster, mean_pool)


def make_model(decoder: Decoder) -> Pixel2GeneModel:
    torch.manual_seed(0)
    return Pixel2GeneModel(
        decoder=decoder,
        network=Ensemble(2, 4, RANK, [5], drop=0.0),
        shift=np.zeros(4, "f4"),
        scale=np.ones(4, "f4"),
        clip=3.0,
        pitch_um=16.0,
        encoder="stain",
        encoder_identity="stain1",
        score_scale=1.0,
    )


def make_lattice() -> ad.AnnData:
    rng = np.random.default_rng(2)
    return ad.AnnData(
        X=rng.random((6, 3)).astype("f4"),
        obs=pd.DataFrame(
            {"is_measured": [True, False] * 3, "nearest_spot": list("aabbcc")},
            index=[f"p{n}" for n in range(6)],
        ),
        var=pd.DataFrame(index=list(GENES)),
        obsm={"spatial": rng.random((6, 2))},
        uns={
            "lattice": 2,
            "microns_per_pixel": 1.0,
            "stenhance": {"spot_diameter_um": 50.0, "spot_shape": "disc"},
            "stenhance_prediction": {"unit": "log1p CP10k"},
        },
    )


def make_spots(number: int = 40) -> ad.AnnData:
    rng = np.random.default_rng(4)
    return ad.AnnData(
        X=sp.csr_matrix(rng.poisson(1.0, (number, 3)).astype("f4")),
        obs=pd.DataFrame(
            {
                "domain": pd.Categorical(["Domain 1", "Domain 2"] * (number // 2)),
                "domain_confidence": rng.random(number),
            },
            index=[f"s{n}" for n in range(number)],
        ),
        var=pd.DataFrame(index=list(GENES)),
        obsm={"spatial": rng.random((number, 2)) * 1000},
        uns={
            "stenhance": {
                "spot_diameter_um": 50.0,
                "spot_shape": "disc",
                "pitch_um": 100.0,
                "unit": "micrometer",
            },
            "microns_per_pixel": 1.0,
        },
    )


def _add_domains(result: ResultFolder) -> None:
    raster = np.random.default_rng(5).integers(1, 3, GRID.shape).astype("u1")
    score = np.ones((2, 3), "f4")
    found = DomainRunContent(
        domains=new_domains(2),
        grid=GRID,
        label=raster_labels(raster),
        expression=Expression(GENES, GENES, score, score, score),
        number=np.bincount([1, 2] * 20, minlength=256),
        spots=make_spots(),
    )
    about = {"seed": 0, "device": "cpu", "versions": {}, "n_domains": 2, "criterion": ""}
    about |= {"scores": [], "doubts": []}
    write_run(result, DOMAINS, {"method": "stamgc"}, about, found)


def _add_imputed(result: ResultFolder) -> None:
    spots = make_spots()
    counts = sp.csc_array(spots.X, dtype=np.float32)
    layer = sp.csc_array(np.log1p(counts.toarray()))
    frame = ad.AnnData(
        obs=spots.obs,
        var=pd.DataFrame(
            {
                "imputed": [True, True, False],
                "holdout_r": [np.nan, np.nan, 0.25],
            },
            index=list(GENES),
        ),
        obsm=dict(spots.obsm),
    )
    table = ImputedTable(frame, [GeneColumns(counts, layer, layer)])
    about = {"seed": 0, "device": "cpu", "versions": {}, "matched": "3 genes match."}
    about |= {"doubts": []}
    identity = {"method": "sinca", "cells": {"name": "cells"}}
    run = write_imputation(
        result, IMPUTED, identity, about, table, np.asarray(spots.obsm["spatial"]), GRID
    )
    write_gene(run, "A", Job())
