"""The tables of a phantom: spots, cells and the single-cell reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.phantoms.anatomy import DOMAINS, MPP, Anatomy
from napari_stenhance.phantoms.cells import OUTLINE_POINTS, PhantomNuclei
from napari_stenhance.phantoms.counts import SPOT_GEOMETRY, SpotSums, draw_reference
from napari_stenhance.phantoms.genes import CELL_TYPES, Program
from napari_stenhance.phantoms.rare import RareGenes
from napari_stenhance.phantoms.truth import Truth
from napari_stenhance.section.spots import UNS_KEY, SpotGeometry

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

_AT_ONCE = 2**16


def uns_of(geometry: SpotGeometry) -> dict[str, Any]:
    """State scale and geometry, as `section.spots` reads them."""
    return {"microns_per_pixel": MPP, UNS_KEY: vars(geometry).copy()}


def var_of(program: Program, genes: tuple[str, ...], rare: RareGenes) -> pd.DataFrame:
    """Name genes, rare ones last, and what each follows."""
    import pandas as pd

    known = dict(zip(program.genes, program.follows, strict=True))
    follows = [*(known[g] for g in genes), *rare.follows]
    return pd.DataFrame({"follows": pd.Categorical(follows)}, index=pd.Index([*genes, *rare.names]))


def categories(codes: NDArray[np.integer[Any]], names: tuple[str, ...]) -> pd.Categorical[str]:
    """Turn numbers into names."""
    import pandas as pd

    return pd.Categorical.from_codes(codes, categories=pd.Index(names))


def _names(
    anatomy: Anatomy, row: NDArray[np.integer[Any]], column: NDArray[np.integer[Any]]
) -> pd.Categorical[str]:
    return categories(anatomy.domain[row, column], DOMAINS)


def spots_table(spots: SpotSums, truth: Truth) -> ad.AnnData:
    """Count the spots, once every tile was added to their sums."""
    import anndata as ad
    import pandas as pd

    anatomy = truth.anatomy
    at = np.clip(np.rint(spots.grid.position(spots.xy_um)).astype(int), 0, anatomy.shape[0] - 1)
    return ad.AnnData(
        X=spots.draw(anatomy.seed, truth.rare),
        obs=pd.DataFrame(
            {
                "in_tissue": 1,
                "array_row": spots.array[:, 0],
                "array_col": spots.array[:, 1],
                "true_domain": _names(anatomy, at[:, 0], at[:, 1]),
            },
            index=pd.Index([f"{row}x{column}" for row, column in spots.array]),
        ),
        var=var_of(truth.program, truth.program.measured, truth.rare),
        obsm={"spatial": spots.xy_um / MPP},
        uns=uns_of(SPOT_GEOMETRY),
    )


def cells_table(cells: PhantomNuclei) -> ad.AnnData:
    """Describe every cell; positions and outlines in pixels, as everywhere."""
    import anndata as ad
    import pandas as pd

    # In parts: what it takes to work out an outline is many times the outline.
    outlines = np.empty((len(cells), OUTLINE_POINTS, 2), np.float32)
    for low in range(0, len(cells), _AT_ONCE):
        some = slice(low, low + _AT_ONCE)
        outlines[some] = cells.outlines_um(some) / np.float32(MPP) - np.float32(0.5)
    return ad.AnnData(
        obs=pd.DataFrame(
            {
                "cell_type": categories(cells.kind, CELL_TYPES),
                "true_domain": categories(cells.domain, DOMAINS),
                "nucleus_area_um2": cells.area_um2,
                "nucleus_aspect": cells.aspect,
                "nucleus_stain": cells.stain,
            },
            index=pd.Index(np.arange(len(cells)).astype(str)),
        ),
        obsm={
            "spatial": cells.xy_um / MPP - 0.5,
            "nucleus_outline": outlines,
        },
        uns={"microns_per_pixel": MPP},
    )


def reference_table(truth: Truth) -> ad.AnnData:
    """Count single cells of every type."""
    import anndata as ad
    import pandas as pd

    program, rare = truth.program, truth.rare
    counts, kind = draw_reference(truth.cells, program, rare, truth.anatomy.seed)
    return ad.AnnData(
        X=counts,
        obs=pd.DataFrame(
            {"cell_type": categories(kind, CELL_TYPES)},
            index=pd.Index([f"reference{n}" for n in range(len(kind))]),
        ),
        var=var_of(program, program.genes, rare),
    )
