"""Any network that timm knows, as `timm:MODEL`, where MODEL may end in `.TAG`."""

from __future__ import annotations

from difflib import get_close_matches

from napari_stenhance.errors import InputError
from napari_stenhance.features.network_entry import NetworkEntry
from napari_stenhance.features.networks import FILES, EncoderNetwork
from napari_stenhance.running.device import keep_out_triton


def timm_network(name: str) -> EncoderNetwork:
    """Look a network up in timm.

    Raises
    ------
    InputError
        If there is none.
    """
    keep_out_triton()
    from timm.models import get_pretrained_cfg, is_model, list_pretrained

    model = name.removeprefix("timm:")
    try:
        known = get_pretrained_cfg(model) if is_model(model) else None
    except RuntimeError:  # no such tag
        known = None
    if known is None:
        # Those of the name with another tag, else of a name like it.
        near = list_pretrained(f"{model.partition('.')[0]}.*") or get_close_matches(
            model, list_pretrained()
        )
        meant = f" (near are {', '.join(near[:3])})" if near else ""
        msg = (
            f"Encoder {name}: timm has no such model{meant}; `python -c 'import timm; "
            "print(*timm.list_models(pretrained=True))'` lists those there are."
        )
        raise InputError(msg, option="encoder")
    return EncoderNetwork(
        name=f"timm:{known.architecture}" + (f".{known.tag}" if known.tag else ""),
        arch=model,
        side_px=known.input_size[-1],
        mean=known.mean,
        std=known.std,
        licence=known.license or "unknown",
        repos=(known.hf_hub_id,) if known.hf_hub_id else (),
        files=(known.hf_hub_filename,) if known.hf_hub_filename else FILES,
    )


ENCODER = NetworkEntry("timm:MODEL", r"timm:[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?", timm_network)
