"""The tables of docs/accuracy.md: methods, presets and ablations beside what they must beat.

`python benchmarks/run.py evidence image|domains|imputation [--seeds 0-4] [--only TEXT]`. All goes
through `evaluate`, which keeps finished parts: who stops it goes on with the same command.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import accuracy
import crops
import domains
import numpy as np
import torch
from numpy.typing import NDArray
from sinca_data import PAIRS

from napari_stenhance.features.encoders import stain
from napari_stenhance.features.encoders.stain import StainEncoder
from napari_stenhance.methods import registry
from napari_stenhance.methods.histosge.network import HISTOSGE
from napari_stenhance.methods.registry import method_entry
from napari_stenhance.methods.sinca.network import Parts
from napari_stenhance.methods.sinca.training import SincaSchedule
from napari_stenhance.methods.spamcaf.network import SPAMCAF
from napari_stenhance.methods.stamgc.expression import principal_scores
from napari_stenhance.methods.stamgc.protocol import Domains
from napari_stenhance.running.extensions import extensions
from napari_stenhance.running.job import Job
from napari_stenhance.tasks import evaluate as evaluate_module
from napari_stenhance.tasks.evaluate import evaluate
from napari_stenhance.tasks.evaluate_options import EvaluateOptions
from napari_stenhance.tasks.evaluation import SEEDS_LEAST, Evaluation, Summary

SEEDS = {"image": "0-4", "domains": "0-19", "imputation": "0-4"}
ENCODERS = "stain", "stain+efficientnet"
BASELINES = ("mean", "depth alone", "ridge", "noise ceiling")
Change = Callable[[Any, int], Any]


@dataclass(frozen=True)
class Row:
    """A method with its options; an ablation changes what was made of them.

    `change` takes the method and its seed, `around` holds while it learns and predicts.
    """

    name: str
    method: str
    options: dict[str, Any]
    change: Change | None = None
    around: Callable[[], AbstractContextManager[None]] = nullcontext
    one_seed: bool = False


def named(method: Any, ablation: str) -> Any:
    """Return a method that says of itself which ablation it is: parts are kept by what it says."""
    kind, twin = type(method), copy(method)
    describe = {"describe": lambda self: {**kind.describe(self), "ablation": ablation}}
    object.__setattr__(twin, "__class__", type(kind.__name__, (kind,), describe))
    return twin


@contextmanager
def changed(row: Row) -> Iterator[None]:
    """Make the method of a row with its change, wherever `evaluate` asks for it."""
    if row.change is None:
        yield
        return
    entry, change = method_entry(row.method), row.change

    def make(options: Any, seed: int, device: torch.device) -> Any:
        return named(change(entry.make(options, seed, device), seed), row.name)

    ablated = replace(entry, make=make)
    with ExitStack() as patches:
        for module in (evaluate_module, registry):
            patches.enter_context(mock.patch.object(module, "method_entry", return_value=ablated))
        patches.enter_context(row.around())
        yield


def score(row: Row, sections: Sequence[Path], seeds: str, **more: Any) -> Evaluation:
    options = {"device": "cpu", "seeds": seeds.split("-", maxsplit=1)[0] if row.one_seed else seeds}
    with changed(row):
        return evaluate(
            EvaluateOptions(tuple(sections), method=row.method, **options, **row.options, **more),
            Job(),
        )


def cell(one: Summary, measure: str) -> str:
    mean, sd = one.mean.get(measure, math.nan), one.sd.get(measure, math.nan)
    low = one.low.get(measure, math.nan)
    text = "–" if math.isnan(mean) else f"{mean:.3f}"
    text += "" if math.isnan(sd) else f" ± {sd:.3f}"
    return text if math.isnan(low) else f"{text} (5 %: {low:.3f})"


def line(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def heading(*cells: str) -> None:
    line(*cells)
    print("|---" * len(cells) + "|", flush=True)


def chosen(rows: Iterable[Row], only: str) -> list[Row]:
    return [row for row in rows if only in row.name]


# Methods that see the slide: whole sections left out, each in turn


@dataclass(frozen=True)
class Statistics(StainEncoder):
    """`stain` without its grains."""

    dim: int = 144

    def fingerprint(self) -> str:
        return f"{super().fingerprint()}-statistics"

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return StainEncoder(self.slide_mpp).encode(pixels)[..., : self.dim]


@contextmanager
def without_grains() -> Iterator[None]:
    encoder = replace(
        stain.ENCODER,
        identity=lambda: f"stain{stain.VERSION}-statistics",
        superpixels=lambda _device: lambda slide: Statistics(slide.scale()),
        groups=(),
    )
    with mock.patch.object(stain, "ENCODER", encoder):
        extensions.cache_clear()
        yield
    extensions.cache_clear()


def image_rows() -> Iterator[Row]:
    for encoder in ENCODERS:
        for title, method in (
            ("Pixel2Gene", "pixel2gene"),
            ("HisToSGE", "histosge"),
            ("SpaMCAF", "spamcaf"),
        ):
            yield Row(f"{title} `robust`, `{encoder}`", method, {"encoder": encoder})
    for title, method in (("Pixel2Gene", "pixel2gene"), ("HisToSGE", "histosge")):
        yield Row(
            f"{title} `robust`, without grains", method, {}, lambda made, _seed: made,
            without_grains,
        )  # fmt: skip
    yield Row(
        "Pixel2Gene `robust`, spots count alike", "pixel2gene", {},
        lambda method, _seed: replace(method, recipe=replace(method.recipe, depth_power=0.0)),
    )  # fmt: skip
    yield Row(
        "Pixel2Gene `robust`, within 480 µm", "pixel2gene", {},
        lambda method, _seed: method, partial(accuracy.without_context, 4),
    )  # fmt: skip
    yield Row(
        "Pixel2Gene `robust`, without context", "pixel2gene", {},
        lambda method, _seed: method, accuracy.without_context,
    )  # fmt: skip
    yield Row(
        "HisToSGE `robust`, attention off", "histosge", {},
        lambda method, _seed: replace(
            method, design=replace(HISTOSGE, offsets_um=np.empty((0, 2)))
        ),
    )  # fmt: skip
    yield Row(
        "SpaMCAF `robust`, sizes averaged", "spamcaf", {},
        lambda method, _seed: replace(method, design=replace(SPAMCAF, make=crops.averaged)),
    )  # fmt: skip
    for size in (163, 489):
        yield Row(f"SpaMCAF `robust`, {size} µm only", "spamcaf", {"crops": f"{size}"})
    reference = {"preset": "reference", "genes": "hvg:250"}
    for title, method in (("HisToSGE", "histosge"), ("SpaMCAF", "spamcaf")):
        yield Row(f"{title} `reference`", method, reference, one_seed=True)


def image(folder: Path, seeds: str, only: str) -> None:
    sections = [folder / "her2st" / name for name in ("C2", "C3", "C4")]
    measures = ["r", "r given depth", "r with depth", "I agreement", "coexpression agreement"]
    measures += ["RMSE", "coverage", "share of ceiling"]
    heading("whole sections left out", *measures, "seeds")
    ridges: dict[str, Summary] = {}
    others: dict[str, Summary] = {}
    for row in chosen(image_rows(), only):
        found = score(row, sections, seeds, split="sections")
        own, *rest = found.summaries
        line(row.name, *(cell(own, measure) for measure in measures), str(own.seeds))
        for one in rest:
            sees = "superpixels" if row.method == "pixel2gene" else f"crops of {row.method}"
            if one.what == "ridge" and row.change is None and "crops" not in row.options:
                ridges[f"ridge, {sees}, `{found.protocol['encoder']}`"] = one
            elif one.what != "ridge":
                others.setdefault(one.what, one)
    for name, one in {**ridges, **others}.items():
        line(name, *(cell(one, measure) for measure in measures), "–")


# Domains against anatomists


class Smoothed:
    """Means over neighbours and one mixture: what smoothing alone finds."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def describe(self) -> dict[str, Any]:
        return {"smoothed": "7 spots, 20 axes, one mixture, tied covariance"}

    def find(self, slices: Any, number: int | None, _job: Job) -> Domains:
        assert number is not None
        labels = domains.smoothed(list(slices), number, self._seed)
        axes = principal_scores(slices, 3000, 20, 0)
        embedding = tuple(np.split(axes, np.cumsum([len(s.xy) for s in slices])[:-1]))
        sure = tuple(np.ones(len(part), np.float32) for part in labels)
        return Domains(tuple(labels), sure, embedding, number)


def domain_rows(group: str) -> Iterator[Row]:
    def recipe(**changes: Any) -> Change:
        return lambda method, _seed: replace(method, recipe=replace(method.recipe, **changes))

    yield Row("neighbour means, one mixture", "stamgc", {}, lambda _m, seed: Smoothed(seed))
    yield Row("STAMGC `robust`", "stamgc", {})
    yield Row("STAMGC `robust`, regional weight 0", "stamgc", {}, recipe(regional=0.0))
    yield Row("STAMGC `robust`, topological weight 0", "stamgc", {}, recipe(topological=0.0))
    both = recipe(regional=0.0, topological=0.0)
    yield Row("STAMGC `robust`, both weights 0", "stamgc", {}, both)
    yield Row("STAMGC `robust`, one run", "stamgc", {"runs": 1})
    yield Row("STAMGC `reference`", "stamgc", {"preset": "reference", "group": group})


def of_domains(folder: Path, seeds: str, only: str) -> None:
    cases = domains.CASES
    of = {name: chosen(domain_rows(case.group), only) for name, case in cases.items()}
    for measure in ("ARI", "NMI", "AMI"):
        print()
        heading(measure, *cases)
        for at, row in enumerate(next(iter(of.values()))):
            cells = []
            for name, case in cases.items():
                # Asked for each measure again: it was kept.
                found = score(of[name][at], [folder / case.path], seeds, truth=case.truth)
                cells.append(cell(found.summaries[0], measure))
            line(row.name, *cells)
    print(f"\nMean ± standard deviation over the seeds {seeds}; 5 %: their 5th percentile, given")
    print(f"from {SEEDS_LEAST} seeds on.")


# Genes that spots lack


def imputation_rows() -> Iterator[Row]:
    def recipe(**changes: Any) -> Change:
        return lambda method, _seed: replace(method, recipe=replace(method.recipe, **changes))

    yield Row("SINCA-Net `robust`", "sinca", {})
    untrained = recipe(schedule=SincaSchedule(epochs=0))
    yield Row("SINCA-Net `robust`, not trained", "sinca", {}, untrained)
    alone = recipe(parts=Parts(convolution=False))
    yield Row("SINCA-Net `robust`, no convolution", "sinca", {}, alone)
    yield Row("SINCA-Net `robust`, no reference", "sinca", {}, recipe(parts=Parts(reference=False)))
    yield Row("SINCA-Net `reference`", "sinca", {"preset": "reference"}, one_seed=True)


def imputation(folder: Path, seeds: str, only: str) -> None:
    measures = ["Spearman", "Spearman beyond library", "PCC", "SSIM", "RMSE", "JS"]
    heading("pair", "genes hidden in 5 folds", *measures, "seeds")
    for pair, (of_spots, of_cells, most) in PAIRS.items():
        genes = {} if most is None else {"genes": f"hvg:{most}"}
        rest: dict[str, Summary] = {}
        for row in chosen(imputation_rows(), only):
            more = {"reference": folder / of_cells, **genes}
            found = score(row, [folder / of_spots], seeds, split="genes", **more)
            for one in found.summaries:
                if one.what == "sinca" or one.what.startswith("published"):
                    name = row.name if one.what == "sinca" else f"{row.name}: {one.what}"
                    line(pair, name, *(cell(one, m) for m in measures), str(one.seeds))
                elif one.seeds > getattr(rest.get(one.what), "seeds", 0):
                    rest[one.what] = one
        for what, one in rest.items():
            line(pair, what, *(cell(one, m) for m in measures), str(one.seeds))


TABLES = {"image": image, "domains": of_domains, "imputation": imputation}


def main(given: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", default=list(TABLES), metavar="TABLE")
    parser.add_argument("--seeds", default="")
    parser.add_argument("--only", default="", help="Rows whose name holds this.")
    asked = parser.parse_args(given)
    torch.set_num_threads(1)
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default))
    for table in asked.tables:
        print(f"\n### {table}\n")
        TABLES[table](folder, asked.seeds or SEEDS[table], asked.only)


if __name__ == "__main__":
    main()
