"""Several genes at once: each from black to a colour of its own, added up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.results.scale import said_ends

if TYPE_CHECKING:
    from napari_stenhance.results.gene_source import GeneSource

COLOURS = {
    "magenta": (1.0, 0.0, 0.6),
    "green": (0.0, 0.9, 0.0),
    "blue": (0.0, 0.4, 0.8),
    "yellow": (0.9, 0.7, 0.0),
}
"""To be told apart where one lies alone; a place where two are high has their mixture."""
MOST = len(COLOURS)
_LUMA = (0.2126, 0.7152, 0.0722)
_GREYED = 0.6


@dataclass(frozen=True)
class Channel:
    """A gene among those that are seen together.

    Attributes
    ----------
    gene : str
    colour : str
        One of `COLOURS`.
    limits : tuple of float
        The values that are black, and of its full colour.
    doubtful : bool
        Whether it was predicted, but not reliably: its colour is greyish, and no darker.
    settled : bool
        Whether the limits stay: those of a run that is complete, or that the user has set.
    strength : float
        Of its colour, at most 1: such that all that are seen add up to no more than white.
    """

    gene: str
    colour: str
    limits: tuple[float, float] = (0.0, 1.0)
    doubtful: bool = False
    settled: bool = False
    strength: float = 1.0

    @property
    def hue(self) -> tuple[float, ...]:
        """The colour at its full strength, each part of 0 … 1."""
        full = COLOURS[self.colour]
        grey = sum(part * by for part, by in zip(full, _LUMA, strict=True))
        return tuple(part + _GREYED * (grey - part) for part in full) if self.doubtful else full

    @property
    def rgb(self) -> tuple[float, ...]:
        """The colour of the highest values, each part of 0 … 1."""
        return tuple(part * self.strength for part in self.hue)

    def said(self, run: GeneSource) -> str:
        """Say what it stands for, of a run."""
        low, high = said_ends(self.limits)
        doubt = ", not reliable" if self.doubtful else ""
        return f"{run.names.label(self.gene)} {self.colour} {low} – {high}{doubt}"


def choose_channels(genes: Sequence[str], before: Iterable[Channel] = ()) -> tuple[Channel, ...]:
    """Give each gene a colour; one that it had, it keeps.

    Raises
    ------
    InputError
        If they are more than there are colours.
    """
    if len(genes) > MOST:
        msg = f"{len(genes)} genes: at most {MOST} are shown at once, each in a colour of its own."
        raise InputError(msg)
    kept = {one.gene: one for one in before if one.gene in genes}
    free = [colour for colour in COLOURS if colour not in {one.colour for one in kept.values()}]
    new = [gene for gene in genes if gene not in kept]
    return (*kept.values(), *(Channel(*each) for each in zip(new, free, strict=False)))


def in_balance(channels: Iterable[Channel]) -> tuple[Channel, ...]:
    """Give all one strength, so that where all are highest there is no more than white.

    Beyond that, napari cuts each part of a colour off, and mixtures could not be told apart.
    """
    every = tuple(channels)
    most = max((sum(parts) for parts in zip(*(one.hue for one in every), strict=True)), default=1)
    return tuple(replace(one, strength=1 / max(1.0, most)) for one in every)


def with_limits(
    channels: Iterable[Channel], gene: str, limits: tuple[float, float]
) -> tuple[Channel, ...]:
    """Give one of the channels the limits that the user has set."""
    return tuple(
        replace(one, limits=limits, settled=True) if one.gene == gene else one for one in channels
    )
