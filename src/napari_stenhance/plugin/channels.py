"""Several genes of a run at once: a layer for each, from black to a colour of its own, added up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.genes import GeneImage, set_contrast
from napari_stenhance.plugin.images import image_layer, layer_title
from napari_stenhance.plugin.layer_info import KEY, LayerData, LayerInfo, Role, layers_of
from napari_stenhance.plugin.levels import said_ends, shown_levels
from napari_stenhance.plugin.scene import add_layers, show_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_stenhance.results.gene_source import GeneSource

CHANNEL = Role("channel", 2, fills=True)
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


def in_balance(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """Give all one strength, so that where all are highest there is no more than white.

    Beyond that, napari cuts each part of a colour off, and mixtures could not be told apart.
    """
    most = max(
        (sum(parts) for parts in zip(*(one.hue for one in channels), strict=True)), default=1
    )
    return tuple(replace(one, strength=1 / max(1.0, most)) for one in channels)


def with_limits(
    channels: Iterable[Channel], gene: str, limits: tuple[float, float]
) -> tuple[Channel, ...]:
    """Give one of the channels the limits that the user has set."""
    return tuple(
        replace(one, limits=limits, settled=True) if one.gene == gene else one for one in channels
    )


def show_channels(
    viewer: ViewerModel,
    runs: Sequence[GeneSource],
    channels: Sequence[Channel],
    least_r: float,
    most: int,
) -> tuple[Channel, ...]:
    """Show genes of a run together, each on the scale that it has by itself.

    Parameters
    ----------
    viewer : ViewerModel
    runs : sequence of GeneSource
        The last is shown; of the first are the limits.
    channels : sequence of Channel
    least_r : float
        The least r given depth of a reliable gene.
    most : int
        Of how many pixels a side the limits are taken.

    Returns
    -------
    tuple of Channel
        With their limits.
    """
    run, read = runs[-1], []
    layers = {info.part: layer for layer, info in layers_of(viewer, "channel", of_run=run.key)}
    for one in channels:
        doubtful = run.reliability(one.gene, least_r) == "not reliable"
        limits, settled = one.limits, one.settled or runs[0].complete
        if not one.settled:
            limits = GeneImage.read(runs[0], one.gene, most=most).limits
        read.append(replace(one, doubtful=doubtful, limits=limits, settled=settled))
    shown = in_balance(read)
    for one in shown:
        if one.colour in layers:
            _show(layers[one.colour], run, one)
        else:
            layers[one.colour], *_ = add_layers(viewer, [channel_layer(run, one)])
    seen = {layers[one.colour] for one in shown}
    for n, layer in enumerate(layer for layer in viewer.layers if layer in seen):
        # The lowest hides the slide, whose white would drown every colour.
        blending = "additive" if n else "translucent"
        if layer.blending != blending:
            layer.blending = blending
        show_layer(layer, visible=True)
    return shown


def is_shown(info: LayerInfo, run: GeneSource | None, channels: Sequence[Channel]) -> bool:
    """Tell whether a layer is one of the channels that are seen."""
    mine = run is not None and info.of_run == run.key
    return mine and (info.part, info.gene) in {(one.colour, one.gene) for one in channels}


def channel_layer(run: GeneSource, channel: Channel) -> LayerData:
    """Make the layer of a channel."""
    info = LayerInfo(CHANNEL, run.result.name, run=run, part=channel.colour, gene=channel.gene)
    title = _title(run, channel)
    look = {"visible": True, "limits": channel.limits}
    data, attributes, kind = image_layer(
        run.levels(channel.gene), run.grid, title, info, "gray", **look
    )
    return data, {**attributes, "colormap": _colormap(channel), "opacity": 1.0}, kind


def channels_caption(channels: Sequence[Channel], run: GeneSource) -> str:
    """Write what each colour stands for, a line each; and what all of them are."""
    origins = dict.fromkeys(run.origin(one.gene) for one in channels)
    lines = []
    for one in channels:
        low, high = said_ends(one.limits)
        doubt = ", not reliable" if one.doubtful else ""
        name = run.names.label(one.gene)
        lines.append(f"{name} {one.colour} {low} – {high}{doubt}")
    return "\n".join([*lines, f"{' or '.join(origins)}, {run.unit}"])


def _show(layer: Image, run: GeneSource, channel: Channel) -> None:
    info: LayerInfo = layer.metadata[KEY]
    if info.gene != channel.gene:
        layer.metadata[KEY] = replace(info, gene=channel.gene)
        layer.data = shown_levels(run.levels(channel.gene))
        layer.name = _title(run, channel)
    if tuple(layer.contrast_limits) != channel.limits:
        set_contrast(layer, channel.limits)
    colormap = _colormap(channel)
    if layer.colormap.name != colormap.name:
        layer.colormap = colormap


def _title(run: GeneSource, channel: Channel) -> str:
    return layer_title(f"{run.names.label(channel.gene)} · {channel.colour}", run)


def _colormap(channel: Channel) -> Any:
    from napari.utils.colormaps import Colormap

    name = f"{'greyish' if channel.doubtful else 'full'} {channel.colour} {channel.strength:.3f}"
    return Colormap([[0.0, 0.0, 0.0, 1.0], [*channel.rgb, 1.0]], name=name)
