"""What the option *tissue* says: how tissue is found, or a mask of one slide that is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_stenhance.features.masks import TissueKind
    from napari_stenhance.section.section import Section


def tissue_kind(tissue: Any) -> TissueKind:
    """Return how tissue is found on slides of which no mask is given."""
    from napari_stenhance.features.masks import TISSUE_KINDS

    kinds = (kind for kind in TISSUE_KINDS if isinstance(tissue, Path) and str(tissue) == kind)
    return next(kinds, TISSUE_KINDS[0])


def given_mask(tissue: Any) -> Any:
    """Return the mask that is given; None if tissue is to be found."""
    from napari_stenhance.features.masks import TISSUE_KINDS

    found = tissue is None or (isinstance(tissue, Path) and str(tissue) in TISSUE_KINDS)
    return None if found else tissue


def need_one_slide(tissue: Any, sections: Sequence[Any]) -> None:
    """Refuse one mask for several slides.

    Raises
    ------
    InputError
        If it is given for several.
    """
    if given_mask(tissue) is not None and len(sections) > 1:
        msg = (
            f"One tissue mask is of one slide, and there are {len(sections)}; name one section "
            "and slide, or open each with its own mask in Python."
        )
        raise InputError(msg, option="tissue")


def with_given_tissue(section: Section, tissue: Any) -> Section:
    """Return a section with the mask that is given, or as it is.

    Raises
    ------
    InputError
        If the mask cannot be read, or is none of this slide.
    """
    from napari_stenhance.features.masks import TISSUE_KINDS

    mask = given_mask(tissue)
    if isinstance(mask, Path) and not mask.exists():
        kinds = " or ".join(TISSUE_KINDS)
        msg = (
            f"Tissue {mask}: there is no such mask; give its file, or how tissue is found: {kinds}."
        )
        raise InputError(msg, option="tissue")
    return section if mask is None else section.with_tissue(mask)
