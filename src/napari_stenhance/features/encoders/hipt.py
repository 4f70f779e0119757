"""HIPT, both stages, as the published Pixel2Gene and iStar see tissue; superpixels of 8 µm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.features.hipt import HIPT_256, VERSION, HiptEncoder, HiptNetworks
from napari_stenhance.features.network_entry import published_hash
from napari_stenhance.features.networks import SEED
from napari_stenhance.features.registry import Encoder
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import torch

    from napari_stenhance.features.forward import Precision
    from napari_stenhance.section.slide import Slide

_SECOND = "vit4k_xs_dino.pth"
_SHA256 = {
    **HIPT_256.sha256,
    _SECOND: "2b0bd9e9a602a35f2bb3f76da39d2b53a91f23fc3f115dc59a63267d95ad2b7b",
}
_SHIFTS = {"1": 1, "4": 2, "16": 4}
_PRECISIONS = ("float32", "bfloat16", "float16")
_OPTIONS = (
    "weights=FILE and weights4k=FILE, pretrained=false, shifts=1 or 4 or 16, legacy_edges=true, "
    f"precision={' or '.join(_PRECISIONS)}"
)


@dataclass(frozen=True)
class HiptChoice:
    """HIPT with its options.

    Attributes
    ----------
    weights : (Path, Path) or None
        Of the first and the second network; None for random ones.
    shifts : int
        See `HiptEncoder`.
    legacy_edges : bool
    precision : {"float32", "bfloat16", "float16"}, optional
        What the first network computes in; by default what the device has in hardware.
    given : tuple of str
        The options, but for paths.
    """

    weights: tuple[Path, Path] | None
    shifts: int
    legacy_edges: bool
    precision: Precision | None
    given: tuple[str, ...]

    @property
    def portable(self) -> str:
        """The name with its options, but for the paths of the weights."""
        return "hipt" + ("?" + "&".join(self.given) if self.given else "")

    def identity(self) -> str:
        """Name weights, and what changes values.

        Raises
        ------
        InputError
            If the weights cannot be read, or are not those of their names.
        """
        which = f"random{SEED}"
        if self.weights is not None:
            which = "-".join(published_hash("hipt", _SHA256, w)[:16] for w in self.weights)
        edges = "-legacy" if self.legacy_edges else ""
        return f"hipt-v{VERSION}-{which}-{self.shifts**2}{edges}"

    def load(self, device: torch.device) -> Callable[[Slide], HiptEncoder]:
        """Load both networks, for the superpixels of slides.

        Raises
        ------
        InputError
            If the weights do not fit.
        InferenceError
            If the device cannot hold the networks.
        """
        networks = HiptNetworks(self.identity(), device, self.weights, self.precision)
        make = partial(HiptEncoder, shifts=self.shifts, legacy_edges=self.legacy_edges)
        return lambda slide: make(networks, slide.scale())


class HiptEntry:
    """HIPT as `ENCODER`; `networks` is how it is listed."""

    name = "hipt"
    networks = (
        replace(
            HIPT_256,
            name="hipt",
            terms=f"Two files are needed, {HIPT_256.files[0]} and {_SECOND}.",
            file_bytes=HIPT_256.file_bytes + 395_710_078,
        ),
    )

    def chosen(self, name: str, options: Mapping[str, str]) -> Encoder | None:
        """Return the encoder with its options, if it is this one.

        Raises
        ------
        InputError
            If an option cannot be.
        """
        if name != self.name:
            return None
        taken: dict[str, Any] = {}
        for key, value in options.items():
            if key in ("weights", "weights4k") and value:
                with reading(value, "the weights", "name a file that is there"):
                    taken[key] = Path(value).expanduser()
            elif (key, value) in (("pretrained", "false"), ("legacy_edges", "true")) or (
                value in {"shifts": tuple(_SHIFTS), "precision": _PRECISIONS}.get(key, ())
            ):
                taken[key] = value
            else:
                msg = f"Encoder hipt: {key}={value} is no option; there are {_OPTIONS}."
                raise InputError(msg, option="encoder")
        files = [taken.pop(key) for key in ("weights", "weights4k") if key in taken]
        if len(files) == 1 or (files and "pretrained" in taken):
            msg = (
                "Encoder hipt: give both weights=FILE and weights4k=FILE, or pretrained=false for "
                "random ones."
            )
            raise InputError(msg, option="encoder")
        shifts, legacy = _SHIFTS[taken.get("shifts", "16")], "legacy_edges" in taken
        if legacy and shifts != _SHIFTS["16"]:
            msg = "Encoder hipt: legacy_edges=true are those of 16 shifts; leave one of them out."
            raise InputError(msg, option="encoder")
        weights = (files[0], files[1]) if files else None
        given = tuple(f"{k}={v}" for k, v in sorted(taken.items()))
        choice = HiptChoice(weights, shifts, legacy, taken.get("precision"), given)
        if weights is not None or "pretrained" in taken:
            return Encoder(choice.portable, choice.identity, choice.load)
        return Encoder(choice.portable, _missing, _missing)


def _missing(*_: Any) -> Any:
    msg = (
        f"Encoder hipt: its weights are not on this machine; fetch {HIPT_256.files[0]} and "
        f"{_SECOND} from {HIPT_256.page} (licence {HIPT_256.licence}), and give them as "
        "hipt?weights=FILE&weights4k=FILE (hipt?pretrained=false has random weights, for trials)."
    )
    raise InputError(msg, option="encoder")


ENCODER = HiptEntry()
