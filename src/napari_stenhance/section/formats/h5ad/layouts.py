"""Parts of an `.h5ad`, as anndata has written them since 0.5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def read_frame(part: Any, uns: Any = None) -> pd.DataFrame:
    """Read `obs` or `var`: a group, or before anndata 0.7 a dataset of records.

    Parameters
    ----------
    part : h5py.Group, h5py.Dataset, zarr.Group or DataFrame
        A table in memory is returned as it is.
    uns : h5py.Group, optional
        Before 0.7 it holds what categories are called.
    """
    import anndata as ad
    import pandas as pd

    if isinstance(part, pd.DataFrame):
        return part
    if not isinstance(part, h5py.Dataset):
        frame = ad.io.read_elem(part)
        if not isinstance(frame, pd.DataFrame):
            msg = f"{part.name} is no table"
            raise ValueError(msg)
        return frame
    records = part[()]
    if records.dtype.names is None or records.ndim != 1:
        msg = f"{part.name} is no table"
        raise ValueError(msg)
    columns = {name: _texts(records[name]) for name in records.dtype.names}
    for name, values in columns.items():
        categories = f"{name}_categories"
        if isinstance(uns, h5py.Group) and categories in uns and values.dtype.kind in "iu":
            known = _texts(np.atleast_1d(uns[categories][()]))
            if len(values) and not -1 <= values.min() <= values.max() < len(known):
                msg = f"{part.name}: {name} is none of its categories"
                raise ValueError(msg)
            columns[name] = pd.Categorical.from_codes(values, pd.Index(known).unique())
    index = next((columns.pop(name) for name in ("index", "_index") if name in columns), None)
    if index is None:
        msg = f"{part.name} has no index"
        raise ValueError(msg)
    return pd.DataFrame(columns, index=pd.Index(index.astype(str)))


def read_matrices(part: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Read some of `obsm`: a group, or before anndata 0.7 a dataset of records."""
    import anndata as ad

    if isinstance(part, h5py.Dataset):
        return {name: part[name] for name in names if name in (part.dtype.names or ())}
    return {name: ad.io.read_elem(part[name]) for name in names if name in part}


def _texts(values: Any) -> Any:
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace").astype(object)
    if values.dtype.kind == "O":
        texts = (v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values)
        return np.array(list(texts), dtype=object)
    return values
