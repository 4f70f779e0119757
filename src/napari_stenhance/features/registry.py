"""Encoders by name, `NAME[?key=value&...]`: ours in `encoders`, and those of other packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.running.extensions import extensions

if TYPE_CHECKING:
    import torch

    from napari_stenhance.features.encoder import CropEncoder, SlideEncoder, SuperpixelEncoder
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.slide import Slide

    AnyEncoder = SuperpixelEncoder | SlideEncoder

PACKAGE = "napari_stenhance.features.encoders"


@dataclass(frozen=True)
class Encoder:
    """What turns tissue into feature vectors, before it is made; registers itself as `ENCODER`.

    Attributes
    ----------
    name : str
        As the option `encoder` takes it, and as results and models record it: without paths.
    identity : callable
        Names weights and version, apart from what a slide's scale changes; raises `InputError` if
        the weights are not here.
    superpixels : callable or None
        Loads onto a device what a run needs, once, and returns what makes the encoder of
        superpixels of each slide. Averaged, they serve as features of crops.
    crops : callable or None
        Makes the encoder of crops for a device.
    prepare : callable or None
        Does, as a stage of a job, what the first tile of a process would else wait for.
    parts : tuple of Encoder
        Those that it is made of, whose vectors are joined; it then makes none itself.
    groups : tuple of int
        How many channels each kind has that lies side by side in its vectors; none if all are of
        one. So a method can let kinds count alike, however many channels each has.
    """

    name: str
    identity: Callable[[], str]
    superpixels: Callable[[torch.device], Callable[[Slide], AnyEncoder]] | None = None
    crops: Callable[[torch.device], CropEncoder] | None = None
    prepare: Callable[[Job], None] | None = None
    parts: tuple[Encoder, ...] = ()
    groups: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """A short name for runs and files: `stain`, `uni`, `timm-resnet18`, `stain+uni`."""
        if self.parts:
            return "+".join(part.title for part in self.parts)
        return self.name.partition("?")[0].partition(".")[0].replace(":", "-")

    def chosen(self, name: str, options: Mapping[str, str]) -> Encoder | None:
        """Return this encoder if it is the one that is named; it has no options.

        What registers itself as `ENCODER` needs no more than this and `name`: a family returns one
        of its own.
        """
        if name != self.name:
            return None
        if options:
            msg = f"Encoder {name}: {name} has no options; its whole name is {name}."
            raise InputError(msg, option="encoder")
        return self


def find_encoder(text: str) -> Encoder:
    """Find what the option `encoder` names, `NAME[?key=value&...]`, or several joined by `+`.

    Raises
    ------
    InputError
        If there is no such encoder, or no such option of it.
    """
    parts = [_find_one(one, text) for one in _split(text)]
    if len(parts) == 1:
        return parts[0]
    names = [part.name for part in parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        msg = f"Encoder {text}: {twice} is given twice; give it once."
        raise InputError(msg, option="encoder")
    return Encoder(
        "+".join(names), lambda: "+".join(part.identity() for part in parts), parts=tuple(parts)
    )


def _split(text: str) -> list[str]:
    """Split at each `+`, but for those in the value of an option, as in the name of a file."""
    parts: list[str] = []
    for piece in text.split("+"):
        name = piece.partition("?")[0].strip()
        if parts and "?" in parts[-1] and _entry_of(name, {}) is None:
            parts[-1] += f"+{piece}"
        else:
            # The end of a name of a file is left as it is.
            parts.append(piece.lstrip() if "?" in piece else piece.strip())
    return parts


def _find_one(one: str, text: str) -> Encoder:
    name, _, given = one.partition("?")
    options: dict[str, str] = {}
    for option in filter(None, given.split("&")):
        key, _, value = option.partition("=")
        if key in options:
            msg = f"Encoder {one}: {key} is given twice; give it once."
            raise InputError(msg, option="encoder")
        options[key] = value
    found = _entry_of(name, options)
    if found is None:
        listed = ", ".join(entry.name for entry in extensions(PACKAGE, "ENCODER"))
        near = get_close_matches(name.lower(), listed.split(", "), 2)
        meant = f"did you mean {' or '.join(near)}? Choose" if near else "choose"
        msg = (
            f"Encoder {one or text or repr(text)}: there is no such encoder; {meant} one of "
            f"{listed}, or join some with +."
        )
        raise InputError(msg, option="encoder")
    return found


def _entry_of(name: str, options: Mapping[str, str]) -> Encoder | None:
    chosen = (entry.chosen(name, options) for entry in extensions(PACKAGE, "ENCODER"))
    return next((found for found in chosen if found is not None), None)
