"""Tables of positions of vision transformers, for pictures of another size than theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

Resizing = Literal["smooth", "plain", "dino"]
"""How a family of networks resizes its tables, all of them bicubically.

"smooth" filters as timm does, and "plain" does not, as the library transformers; nor does "dino",
which takes the new table for a tenth of a position longer, as the first DINO did.
"""
_DINO_LONGER = 0.1


def resize_positions(model: Any, side_px: int, resizing: Resizing) -> None:
    """Make a vision transformer of timm see pictures of `side_px` along each side.

    Its table is resized once, on the CPU and in single precision, so that each picture is seen
    with the same one on any device.

    Parameters
    ----------
    model : torch.nn.Module
        With its weights, on the CPU.
    side_px : int
        A multiple of its patches.
    resizing : {"smooth", "plain", "dino"}
    """
    import torch

    before, table = model.patch_embed.grid_size, getattr(model, "pos_embed", None)
    model.set_input_size(img_size=(side_px, side_px))
    after = model.patch_embed.grid_size
    if resizing == "smooth" or table is None or before == after:
        return
    prefix = table.shape[1] - before[0] * before[1]
    with torch.no_grad():
        places = resized_table(table[:, prefix:], before, after, resizing)
        model.pos_embed = torch.nn.Parameter(torch.cat([table[:, :prefix], places], dim=1))


def resized_table(
    table: torch.Tensor,
    before: tuple[int, int],
    after: tuple[int, int],
    resizing: Literal["plain", "dino"],
) -> torch.Tensor:
    """Resize a table without its prefix, (1, rows · columns, dim), between two grids."""
    import torch

    shaped = table.float().unflatten(1, before).permute(0, 3, 1, 2)
    size: dict[str, Any] = {"size": after}
    if resizing == "dino":
        longer = (n + _DINO_LONGER for n in after)
        size = {"scale_factor": tuple(n / old for n, old in zip(longer, before, strict=True))}
    found = torch.nn.functional.interpolate(shaped, mode="bicubic", align_corners=False, **size)
    return found.flatten(2).permute(0, 2, 1)
