"""Scores written: a table (CSV), or all of it with its protocol (JSON)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.storage.atomic import atomic_path

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.tasks.evaluation import Evaluation

SCHEMA = "napari-stenhance evaluation 1"


def write_scores_csv(found: Evaluation, path: Path) -> None:
    """Write every measure of every score: a row each, which says on which scale it is."""
    import pandas as pd

    scale = found.protocol["normalisation"]["name"]
    rows = [
        {"seed": one.seed, "hidden": one.hidden, "what": one.what, "domains": one.n_domains}
        | {"normalisation": scale or None}
        | one.values
        for one in found
    ]
    table = pd.DataFrame(rows).dropna(axis=1, how="all")
    if "seed" in table:
        table["seed"] = table["seed"].astype("Int64")
    with atomic_path(path) as aside:
        table.to_csv(aside, index=False)


def write_scores_json(found: Evaluation, path: Path) -> None:
    """Write all scores, of genes and spots too, with their protocol; docs/evaluation.md says how.

    What is not known is null.
    """
    content = {
        "schema": SCHEMA,
        "protocol": found.protocol,
        "summary": [
            {
                "what": one.what,
                "seeds": one.seeds,
                "parts": one.parts,
                "mean": _known(one.mean),
                "sd": _known(one.sd),
                "percentile_5": _known(one.low),
            }
            for one in found.summaries
        ],
        "scores": [
            {
                "seed": one.seed,
                "hidden": one.hidden or None,
                "what": one.what,
                "n_domains": one.n_domains,
                "values": _known(one.values),
                "genes": None if one.of_genes is None else _columns("gene", one.of_genes),
                "spots": None if one.of_spots is None else _columns("spot", one.of_spots),
            }
            for one in found
        ],
        "doubts": list(found.doubts),
    }
    with atomic_path(path) as aside:
        aside.write_text(json.dumps(content, indent=1, allow_nan=False), "utf-8")


def _known(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _columns(index: str, table: pd.DataFrame) -> dict[str, Any]:
    columns: dict[str, Any] = {
        str(name): [value if math.isfinite(value) else None for value in table[name].tolist()]
        for name in table
    }
    return {index: [str(name) for name in table.index], **columns}
