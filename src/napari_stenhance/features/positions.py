"""Tables of positions of vision transformers, for pictures of another size than they were of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

Resizing = Literal["smooth", "plain", "dino"]
"""How a family of networks resizes its tables, all of them bicubically.

"smooth" filters as timm does; "plain" does not, as networks of transformers; "dino" does not,
either, and takes the new table to be a tenth of a position longer, as the first DINO did.
"""
_DINO_LONGER = 0.1


def resized_table(
    table: torch.Tensor, before: tuple[int, int], after: tuple[int, int], resizing: Resizing
) -> torch.Tensor:
    """Resize a table without its prefix, (1, rows · columns, dim), between two grids.

    Once and in single precision, so that each picture is seen with the same one on any device.
    """
    import torch

    if before == after:
        return table
    shaped = table.float().unflatten(1, before).permute(0, 3, 1, 2)
    size: dict[str, Any] = {"size": after, "antialias": resizing == "smooth"}
    if resizing == "dino":
        longer = zip((n + _DINO_LONGER for n in after), before, strict=True)
        size = {"scale_factor": tuple(n / old for n, old in longer)}
    found = torch.nn.functional.interpolate(shaped, mode="bicubic", align_corners=False, **size)
    return found.flatten(2).permute(0, 2, 1)
