"""Several genes of a run at once: a layer for each, from black to a colour of its own, added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_stenhance.plugin.genes import GeneImage, set_contrast
from napari_stenhance.plugin.images import image_layer, layer_title
from napari_stenhance.plugin.layer_info import KEY, LayerData, LayerInfo, Role, layers_of
from napari_stenhance.plugin.levels import shown_levels
from napari_stenhance.plugin.scene import add_layers, show_layer
from napari_stenhance.results.channels import Channel, in_balance

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_stenhance.results.gene_source import GeneSource

CHANNEL = Role("channel", 2, fills=True)


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
    lines = [one.said(run) for one in channels]
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
