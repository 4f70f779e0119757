"""The colours of domains: one list, for layers, legends and files alike."""

from __future__ import annotations

# Okabe and Ito's colours, which most colour-blind people tell apart (their black as grey: the
# canvas is black); then, one after the other, the colour farthest from all before it, as seen with
# and without red or green cones.
COLOURS = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999",
    "#3F1FF2", "#3F60E2", "#D2F2B1", "#A11F2F", "#60F2F2", "#D2A160", "#911F70", "#B1F270",
    "#F21F60", "#7091F2", "#B1602F", "#F2E2D2", "#702FB1", "#B11FA1", "#A1C1A1", "#2F704F",
)  # fmt: skip


def colour_of(value: int) -> str:
    """Return the colour of a domain, 1, 2 …; beyond the list they begin again."""
    return COLOURS[(value - 1) % len(COLOURS)]


def rgba(colour: str, *, hidden: bool = False) -> tuple[int, int, int, int]:
    """Return a colour `#RRGGBB` as 0 … 255; what is hidden is transparent."""
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return red, green, blue, 0 if hidden else 255
