"""The protocol of an evaluation: what makes its numbers, as data and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari_stenhance.tasks.evaluate_options import SPLIT_OF, EvaluateOptions

if TYPE_CHECKING:
    from napari_stenhance.methods.registry import MethodEntry
    from napari_stenhance.section.section import Section


def protocol_of(
    options: EvaluateOptions,
    entry: MethodEntry,
    seeds: Sequence[int],
    sections: Sequence[Section],
    scale: tuple[str, str],
    recipe: Any,
    **more: Any,
) -> dict[str, Any]:
    """Say how scores come to be, as it is written with them.

    Parameters
    ----------
    options : EvaluateOptions
    entry : MethodEntry
    seeds : sequence of int
    sections : sequence of Section
    scale : tuple of str
        Name and unit of what is compared.
    recipe : dict
        Hyperparameters of the method.
    more
        What belongs to the kind of method.
    """
    from napari_stenhance.methods.training_section import input_identity
    from napari_stenhance.tasks.inference import versions
    from napari_stenhance.tasks.scored_part import code_sha256

    return {
        "kind": entry.kind,
        "method": options.method,
        "preset": options.preset,
        "recipe": recipe,
        "split": options.split or SPLIT_OF[entry.kind],
        "seeds": list(seeds),
        "normalisation": dict(zip(("name", "unit"), scale, strict=True)),
        **more,
        "sections": [{**input_identity(s), "spots": s.need_spots().n_obs} for s in sections],
        "device": options.device,
        "versions": versions(),
        "code_sha256": code_sha256(),
    }


def without_seeds(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a protocol decides the numbers of any seed."""
    return {name: value for name, value in protocol.items() if name != "seeds"}


def in_words(protocol: Mapping[str, Any]) -> list[str]:
    """Say in sentences how scores came to be."""
    of, seeds = protocol, ", ".join(map(str, protocol["seeds"]))
    word = "seed" if len(of["seeds"]) == 1 else "seeds"
    said = [f"{of['method']}, preset {of['preset']}; {word} {seeds}."]
    if of.get("encoder"):
        said.append(f"It sees the slide through the encoder {of['encoder']}.")
    said.append(_HIDDEN[of["split"]].format(**of))
    if of["kind"] == "genes":
        said.append(
            f"Compared are the {of['scored']} genes at most that vary most where it learns, of "
            f"those that it models ({of['genes']}); both choices see nothing of the hidden spots."
        )
    if of["kind"] == "domains":
        number = of["n_domains"] or "a number that it finds by itself"
        truth = f"They are compared with the column {of['truth']}. " if of["truth"] else ""
        said.append(f"{truth}Domains: {number}.")
    if of["normalisation"]["unit"]:
        said.append(
            f"Predicted and measured are compared in {of['normalisation']['unit']} "
            f"({of['normalisation']['name']})."
        )
    names = ", ".join(
        f"{one['name']} ({one['spots']:,} spots, SHA-256 {one['spots_sha256'][:12]}…)"
        for one in of["sections"]
    )
    said.append(f"Sections: {names}.")
    versions = ", ".join(f"{name} {number}" for name, number in of["versions"].items())
    said.append(f"Versions: {versions}.")
    return said


_HIDDEN = {
    "recovery": "Hidden were {hidden_share:.0%} of the spots of the section, drawn with each seed.",
    "blocks": (
        "Hidden were blocks of tissue of at most 1 mm, dealt with each seed to {folds} folds, one "
        "after the other; spots within {buffer:g} µm of a hidden one were not learned from."
    ),
    "sections": "Hidden were whole sections: {tested}. Each was predicted from {learned}.",
    "genes": (
        "Hidden were genes that spots and cells share, dealt with each seed to {folds} folds, one "
        "after the other."
    ),
    "nothing": "Nothing was hidden: domains are found without labels.",
}
