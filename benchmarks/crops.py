"""HisToSGE and SpaMCAF, presets, ablations and baselines, in two protocols.

Recovery: half of the spots of C4 are hidden; seeds 1234 and 0 to 4 draw which, and train. Leave one
out: one of three sections of the same tumour is predicted from its image, learned from the others.
In both 250
genes, the largest variance of log1p CP10k on the spots that are learned from.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as RidgeModel

from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import CropLayout, FeatureSettings
from napari_stenhance.methods.basis import fit_basis
from napari_stenhance.methods.crops.design import Design
from napari_stenhance.methods.crops.ensemble import CropEnsemble
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.genes import choose_genes
from napari_stenhance.methods.histosge.network import HISTOSGE
from napari_stenhance.methods.protocol import Latent, Method, Positions
from napari_stenhance.methods.registry import make_method
from napari_stenhance.methods.spamcaf.network import SPAMCAF
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.gene_evaluation import (
    hide_share,
    predict_spots,
    score_baselines,
    score_hidden,
)
from napari_stenhance.tasks.train import TrainOptions
from napari_stenhance.tasks.training import pitch_between, take_sample

SECTIONS = ("C4", "C3", "C2")
RECOVERED = "C4"
SPLITS = (1234, 0, 1, 2, 3, 4)
HVG = 250
GENES = f"hvg:{HVG}"
CPU = torch.device("cpu")
_AXES, _PENALTY = 8, 300.0


@dataclass(frozen=True)
class Ridge:
    """Ridge regression from the same crops to eight axes of the gene basis."""

    crops_um: tuple[float, ...]
    halo_um: float = 0.0
    least_share: float = 0.05

    def fit(self, samples: Any, genes: Any, job: Job) -> Any:
        crops = np.concatenate([s.features.at(s.xy_um) for s in samples])
        shift, scale = crops.mean(axis=0), crops.std(axis=0)
        basis, scores = fit_basis([s.log1p_cp10k(genes) for s in samples], _AXES, 0)
        model = RidgeModel(alpha=_PENALTY).fit((crops - shift) / scale, scores)
        none = np.zeros(len(genes), np.float32)
        decoder = Decoder(tuple(genes), basis.axes, basis.mean, "log1p CP10k", none, none, none)
        return FittedRidge(decoder, model, shift, scale, self.crops_um)


@dataclass(frozen=True)
class FittedRidge:
    decoder: Decoder
    model: RidgeModel
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]
    crops_um: tuple[float, ...]
    halo_um: float = 0.0

    def latent_at(self, features: Any, positions: Positions, job: Job) -> Latent:
        crops = features.at(positions.xy_um)
        scores = self.model.predict((crops - self.shift) / self.scale).astype(np.float32)
        return Latent(scores, np.zeros_like(scores))


class Average(torch.nn.Module):
    """Instead of gated attention: every size counts for the same."""

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return tokens.mean(dim=1), torch.full_like(tokens[..., 0], 1 / tokens.shape[1])


def averaged(dim: int, sizes: int, outputs: int) -> torch.nn.Module:
    network = SPAMCAF.make(dim, sizes, outputs)
    network.fusion.attention = Average()
    return network


def robust(design: Design, seed: int, *crops_um: float) -> Method:
    return CropEnsemble("stain", seed, CPU, design=design, crops_um=crops_um or design.crops_um)


def published(method: str, seed: int) -> Method:
    options = TrainOptions((), Path("model"), method=method, preset="reference")
    return make_method(options, seed, CPU)


ROWS: dict[str, dict[str, Any]] = {
    "ridge": {
        "ridge, crops of 112 µm": lambda _seed: Ridge((112.0,)),
        "ridge, crops of 163 and 489 µm": lambda _seed: Ridge((163.0, 489.0)),
    },
    "histosge": {
        "HisToSGE `robust`": lambda seed: robust(HISTOSGE, seed),
        "HisToSGE `robust`, attention off": lambda seed: robust(
            replace(HISTOSGE, offsets_um=np.empty((0, 2))), seed
        ),
    },
    "spamcaf": {
        "SpaMCAF `robust`": lambda seed: robust(SPAMCAF, seed),
        "SpaMCAF `robust`, sizes averaged": lambda seed: robust(
            replace(SPAMCAF, make=averaged), seed
        ),
        "SpaMCAF `robust`, 163 µm only": lambda seed: robust(SPAMCAF, seed, 163.0),
        "SpaMCAF `robust`, 489 µm only": lambda seed: robust(SPAMCAF, seed, 489.0),
    },
    "reference": {
        "HisToSGE `reference`": lambda seed: published("histosge", seed),
        "SpaMCAF `reference`": lambda seed: published("spamcaf", seed),
    },
}
LEFT_OUT_SEEDS = {"ridge": range(1), "reference": range(1)}


def settings_of(method: Any, sections: list[Section]) -> FeatureSettings:
    layout = CropLayout(method.crops_um, pitch_between(sections))
    return FeatureSettings(find_encoder("stain"), CPU, Cache.default(), crops=layout)


def leave_out(sections: dict[str, Section], left_out: str, method: Any) -> tuple[float, float]:
    """Return mean r over the genes, and how long learning took."""
    training = [section for name, section in sorted(sections.items()) if name != left_out]
    settings, test = settings_of(method, training), sections[left_out]
    samples = [take_sample(section, settings, method, Job()) for section in training]
    genes = choose_genes(GENES, samples)
    started = time.monotonic()
    fitted = method.fit(samples, genes, Job())
    seconds = time.monotonic() - started
    predicted = predict_spots(test, fitted, settings, Job())
    counts = test.need_spots().to_df()
    there = [n for n, gene in enumerate(genes) if gene in counts]
    per_10k = counts[[genes[n] for n in there]].div(counts.sum(axis=1), axis=0) * 1e4
    r = pearson(predicted[:, there], np.log1p(per_10k.to_numpy()))
    return float(np.nan_to_num(r).sum() / len(genes)), seconds


def cell(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def main() -> None:
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default)) / "her2st"
    sections = {name: open_section(folder / name) for name in SECTIONS}
    print("| recovery in C4 | held-out spots | MSE | MAE | all spots | MSE, all | MAE, all |")
    print("|---|---|---|---|---|---|---|", flush=True)
    interpolated = False
    for rows in ROWS.values():
        for name, make in rows.items():
            found = []
            for seed in SPLITS:
                method = make(seed)
                settings = settings_of(method, [sections[RECOVERED]])
                hidden = hide_share(sections[RECOVERED], 0.5, seed)
                own = score_hidden(hidden, method, settings, GENES, HVG, seed, Job())
                values = own.values
                if not interpolated:
                    genes = own.maps.genes
                    values |= score_baselines(hidden, method, settings, genes, Job()).values
                found.append(values)
            if not interpolated:
                for what in ("nearest spot", "inverse distance"):
                    print(recovery_row(what, [f[what] for f in found]), flush=True)
                interpolated = True
            print(recovery_row(name, [f["method"] for f in found]), flush=True)
    print("\n| leave one out | C2+C3 → C4 | C2+C4 → C3 | C3+C4 → C2 | mean | median | seeds | s |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for part, rows in ROWS.items():
        seeds = LEFT_OUT_SEEDS.get(part, range(5))
        for name, make in rows.items():
            each = [[leave_out(sections, left, make(seed)) for left in SECTIONS] for seed in seeds]
            r, seconds = np.moveaxis(np.array(each), 2, 0)
            cells = " | ".join(cell(list(column)) for column in r.T)
            means = r.mean(axis=1)
            print(
                f"| {name} | {cells} | {means.mean():.3f} | {np.median(means):.3f} | {len(r)} | "
                f"{seconds.mean():.0f} |",
                flush=True,
            )


def recovery_row(name: str, found: list[dict[str, float]]) -> str:
    columns = [
        cell([f[measure] for f in found])
        for measure in ("r", "MSE", "MAE", *(f"{m} all (published)" for m in ("PCC", "MSE", "MAE")))
    ]
    return f"| {name} | {' | '.join(columns)} |"


if __name__ == "__main__":
    main()
