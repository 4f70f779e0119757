"""The layers of an AnnData that have a name: since anndata 0.13, X is one of all, called None."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import anndata as ad


def named_layers(table: ad.AnnData) -> dict[str, Any]:
    """Return the layers of a table by their names, without X.

    Parameters
    ----------
    table : AnnData
    """
    return {name: matrix for name, matrix in table.layers.items() if name is not None}
