"""Pixel2Gene `robust` on what several encoders see, one of three sections left out.

Mean over 250 genes, as in `accuracy`, of Pearson's r and of r with log depth held constant. The
floor is a vision transformer that was never trained. An hour on one core: `STENHANCE_ENCODERS` may
name some of them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
from accuracy import CPU, EVERY, HVG, SECTIONS, SEEDS, spot_means

from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import FeatureSettings
from napari_stenhance.methods.genes import common_genes, variance
from napari_stenhance.methods.pixel2gene.ensemble import Pixel2GeneEnsemble
from napari_stenhance.methods.pixel2gene.inputs import training_inputs
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import gene_accuracy
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.cache import Cache

ENCODERS = {
    "`stain`": "stain",
    "`efficientnet`": "efficientnet",
    "`stain+efficientnet`": "stain+efficientnet",
    "a random ViT-S/16": "timm:vit_small_patch16_224?pretrained=false",
}
Samples = dict[str, tuple[TrainingSection, TrainingSection]]


def load(folder: Path, encoder: str) -> tuple[Samples, float]:
    """Return each section to learn from and to be judged on, and seconds for the first's."""
    settings = FeatureSettings(find_encoder(encoder), CPU, Cache.default())
    samples, seconds = {}, []
    for name in SECTIONS:
        section = open_section(folder / name)
        features = open_features(section.need_slide(), settings, Job())
        started = time.monotonic()
        features.extract()
        seconds.append(time.monotonic() - started)
        spots = section.spots_um(), section.geometry()
        under = Footprints.under(features.grid, *spots, features.tissue)
        learned, judged = (
            TrainingSection.from_section(section, features, under, least) for least in (0.05, 0.0)
        )
        samples[name] = learned, judged
    return samples, seconds[0]


def score(samples: Samples, left_out: str, seed: int) -> tuple[float, float]:
    """Return mean r and mean r given depth over the genes."""
    training = [samples[name][0] for name in sorted(SECTIONS) if name != left_out]
    test = samples[left_out][1]
    genes = common_genes([(s.name, s.genes) for s in training])
    spread = variance([s.log1p_cp10k(genes) for s in training])
    shared = set(test.genes)
    chosen = [g for g in np.argsort(-spread)[:HVG] if genes[g] in shared]
    measured = test.log1p_cp10k([genes[g] for g in chosen]).toarray()
    depth = test.counts_of(test.genes).sum(axis=1)
    fitted = Pixel2GeneEnsemble("stain", seed, CPU).fit(training, genes, Job())
    inputs, spot = training_inputs([test], EVERY, np.random.default_rng(0), Job())
    scores = spot_means(fitted.scores(inputs).mean(axis=0), spot)
    predicted = (scores @ fitted.decoder.weights + fitted.decoder.bias)[:, chosen]
    found = gene_accuracy(predicted, measured, np.asarray(depth).ravel())
    r, given_depth = (float(np.nan_to_num(one).sum() / HVG) for one in found)
    return r, given_depth


def main() -> None:
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default)) / "her2st"
    ends = " | ".join(f"left out {name}" for name in SECTIONS)
    print(f"| r / r given depth | {ends} | mean r | mean r given depth | seeds | features, s |")
    print("|---" * (len(SECTIONS) + 5) + "|", flush=True)
    only = os.environ.get("STENHANCE_ENCODERS", "").split() or ENCODERS.values()
    for label, encoder in ENCODERS.items():
        if encoder not in only:
            continue
        samples, seconds = load(folder, encoder)
        found = np.array(
            [[score(samples, left_out, seed) for left_out in SECTIONS] for seed in SEEDS]
        )
        mean, sd = found.mean(axis=0), found.std(axis=0)
        cells = " | ".join(
            f"{m[0]:.3f} ± {s[0]:.3f} / {m[1]:.3f} ± {s[1]:.3f}"
            for m, s in zip(mean, sd, strict=True)
        )
        r, given_depth = mean.mean(axis=0)
        print(
            f"| {label} | {cells} | {r:.3f} | {given_depth:.3f} | {len(SEEDS)} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
