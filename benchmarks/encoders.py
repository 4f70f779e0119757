"""Pixel2Gene `robust` on what several encoders see, one of three sections left out.

Mean over 250 genes, as in `accuracy`, of Pearson's r and of r with log depth held constant. The
floor is a vision transformer that was never trained. An hour on one core: `STENHANCE_ENCODERS` may
name some of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from accuracy import HVG, SECTIONS, SEEDS, load, predicted_and_measured, robust

from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.scoring.metrics import gene_accuracy

ENCODERS = {
    "`stain`": "stain",
    "`efficientnet`": "efficientnet",
    "`stain+efficientnet`": "stain+efficientnet",
    "a random ViT-S/16": "timm:vit_small_patch16_224?pretrained=false",
}


def score(
    samples: dict[str, tuple[TrainingSection, TrainingSection]], left_out: str, seed: int
) -> tuple[float, float]:
    """Return mean r and mean r given depth over the genes."""
    predicted, measured = predicted_and_measured(robust(), samples, left_out, seed)
    test = samples[left_out][1]
    depth = np.asarray(test.counts_of(test.genes).sum(axis=1)).ravel()
    r, given_depth = (
        float(np.nan_to_num(one).sum() / HVG) for one in gene_accuracy(predicted, measured, depth)
    )
    return r, given_depth


def main() -> None:
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default)) / "her2st"
    ends = " | ".join(f"left out {name}" for name in SECTIONS)
    print(f"| r / r given depth | {ends} | mean r | mean r given depth | seeds |")
    print("|---" * (len(SECTIONS) + 4) + "|", flush=True)
    only = os.environ.get("STENHANCE_ENCODERS", "").split() or ENCODERS.values()
    for label, encoder in ENCODERS.items():
        if encoder not in only:
            continue
        samples = {name: load(name, folder, encoder) for name in SECTIONS}
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
            f"| {label} | {cells} | {r:.3f} | {given_depth:.3f} | {len(SEEDS)} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
