"""Options of `evaluate`, and which of them belong together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from napari_stenhance.methods.registry import Kind, method_choices, preset_choices
from napari_stenhance.scoring.scales import Normalisation
from napari_stenhance.tasks.domain_options import Clustering, Group, Refine, Runs
from napari_stenhance.tasks.impute import Attended
from napari_stenhance.tasks.options import (
    SECTION,
    Device,
    Epochs,
    Help,
    Image,
    SlideOptions,
    TissueMask,
)
from napari_stenhance.tasks.training import Crops, EncoderName, Genes, Quality

KINDS: tuple[Kind, ...] = ("domains", "genes", "imputation")
Split = Literal["recovery", "blocks", "sections", "genes"]
OF_SPLIT: dict[str, Split] = {"ratio": "recovery", "buffer": "blocks", "test": "sections"}
"""Options that only mean something where that is hidden."""
OF_KIND: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("truth", "n_domains"), ("domains",)),
    **dict.fromkeys(
        ("ratio", "buffer", "test", "scored", "normalise", "encoder", "image", "quality", "tissue"),
        ("genes",),
    ),
    **dict.fromkeys(("genes", "folds", "split"), ("genes", "imputation")),
    "reference": ("imputation",),
}
"""Options that only mean something to some kinds of methods."""
SPLIT_OF: dict[Kind, str] = {"genes": "recovery", "imputation": "genes", "domains": "nothing"}
"""What is hidden, where nothing else is said."""


@dataclass(frozen=True)
class EvaluateOptions(SlideOptions):
    """Options of `evaluate`; sections may also be `Section` objects."""

    sections: Annotated[
        tuple[Path, ...],
        Help(
            "A section with spots; several only where whole sections are left out.",
            positional=True,
            takes=SECTION,
        ),
    ]
    method: Annotated[str, Help("What is evaluated", choices=partial(method_choices, *KINDS))] = (
        "stamgc"
    )
    reference: Annotated[
        Path | None,
        Help("Single cells to impute from: an .h5ad of raw counts.", takes=("AnnData",)),
    ] = None
    folds: Annotated[
        int,
        Help(
            "Into so many parts genes that spots and cells share are dealt, or blocks of tissue; "
            "each is hidden in turn."
        ),
    ] = 5
    truth: Annotated[
        str,
        Help("Column of the spots that says their domain; spots without it are left out."),
    ] = ""
    n_domains: Annotated[
        int | None,
        Help("How many domains; by default as many as the truth has, else estimated."),
    ] = None
    split: Annotated[
        Split | None,
        Help(
            "What is hidden: recovery, a random part of the spots, as by default; blocks of tissue "
            "of 1 mm; whole sections, each in turn; or genes, as always from an imputation."
        ),
    ] = None
    ratio: Annotated[float, Help("Of recovery: share of the spots that it learns from.")] = 0.5
    buffer: Annotated[
        float,
        Help("Of blocks: what lies so near to a hidden spot is not learned from.", unit="µm"),
    ] = 200.0
    test: Annotated[
        tuple[Path, ...],
        Help("Of sections: these are predicted, and all others learned from.", takes=SECTION),
    ] = ()
    scored: Annotated[
        int,
        Help("So many genes are compared: those that vary most where it learns."),
    ] = 250
    normalise: Annotated[
        Normalisation,
        Help(
            "The scale in which predicted and measured are compared: log1p CP10k, as methods learn "
            "it; log1p CPM of the scored genes alone; or Pearson residuals."
        ),
    ] = "log1p-cp10k"
    genes: Genes = ()
    seeds: Annotated[
        str, Help("Once with each of these, which also draws what is hidden: 0, 0-4 or 1234,0-4.")
    ] = "0"
    preset: Annotated[
        str,
        Help(
            "How the method is trained, robust so that it does best, the others as published (of "
            "sinca, first is the first version of its program)",
            choices=partial(preset_choices, *KINDS),
        ),
    ] = "robust"
    encoder: EncoderName = "stain"
    crops: Crops = ""
    quality: Quality = True
    tissue: TissueMask = None
    attended: Attended = "cells"
    clustering: Clustering = "auto"
    runs: Runs = None
    refine: Refine = False
    group: Group = ""
    epochs: Epochs = None
    image: Image = None
    device: Device = "auto"
    csv: Annotated[
        Path | None,
        Help("Write every measure of every seed to this table; nothing is overwritten."),
    ] = None
    json: Annotated[
        Path | None,
        Help("Write all of it, each gene and spot too, with the protocol, to this .json file."),
    ] = None
    report: Annotated[
        Path | None,
        Help("Write a page to read: tables, maps, scatter, calibration; one .html file."),
    ] = None
