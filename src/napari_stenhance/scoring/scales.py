"""Names of the scales in which predicted and measured expression are compared."""

from __future__ import annotations

from typing import Literal

Normalisation = Literal["log1p-cp10k", "log1p-cpm-panel", "pearson-residuals"]
UNITS: dict[Normalisation, str] = {
    "log1p-cp10k": "log1p CP10k",
    "log1p-cpm-panel": "log1p CPM of the scored genes",
    "pearson-residuals": "Pearson residual",
}
"""What values are in."""
