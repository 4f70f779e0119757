"""The superpixels that features are standardised by: a fixed sample of a slide's tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.encoder import TileEncoder, window_rows

MOST = 4096
_SIDE = 4
_BLOCKS = 64
Box = tuple[slice, slice]


@dataclass(frozen=True)
class FeatureStats:
    """At most 4,096 tissue superpixels, whose mean and sd do for the whole slide.

    They are drawn with a fixed seed over the whole mask, whatever part of it is extracted, in
    blocks of 4 × 4 (or of one window): a superpixel costs little more with its neighbours than
    alone. Of large windows 64 are looked into, since fewer would not do for a slide. Most are found
    in the tiles that are extracted anyway; since values do not depend on what they are encoded
    with, it does not matter where each comes from.

    Attributes
    ----------
    row, column : ndarray of int64, shape (n,)
    side : int
        Of the blocks.
    values : ndarray of float16, shape (n, dim)
    taken : ndarray of bool, shape (n,)
        Which `values` are known.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    side: int
    values: NDArray[np.float16]
    taken: NDArray[np.bool_]

    @classmethod
    def over(cls, tissue: NDArray[np.bool_], encoder: TileEncoder) -> FeatureStats:
        """Draw from the tissue."""
        window = window_rows(encoder)
        side = -(-_SIDE // window) * window
        rows, columns = (-(-n // side) for n in tissue.shape)
        padded = np.zeros((rows * side, columns * side), bool)
        padded[: tissue.shape[0], : tissue.shape[1]] = tissue
        of_block = padded.reshape(rows, side, columns, side)
        blocks = np.argwhere(of_block.any(axis=(1, 3)))
        draw = np.random.default_rng(0)
        most = max(MOST // side**2, _BLOCKS)
        if len(blocks) > most:
            blocks = blocks[np.sort(draw.choice(len(blocks), most, replace=False))]
        block, y, x = np.nonzero(of_block[blocks[:, 0], :, blocks[:, 1]])
        row, column = blocks[block, 0] * side + y, blocks[block, 1] * side + x
        if len(row) > MOST:
            kept = np.sort(draw.choice(len(row), MOST, replace=False))
            row, column = row[kept], column[kept]
        values = np.zeros((len(row), encoder.dim), np.float16)
        return cls(row, column, side, values, np.zeros(len(row), bool))

    def take(self, box: Box, features: NDArray[np.float16]) -> None:
        """Take what lies in a rectangle of superpixels."""
        rows, columns = box
        here = (self.row >= rows.start) & (self.row < rows.stop)
        here &= (self.column >= columns.start) & (self.column < columns.stop)
        self.values[here] = features[self.row[here] - rows.start, self.column[here] - columns.start]
        self.taken[here] = True

    def boxes_lacking(self) -> list[Box]:
        """Name the blocks that hold what was not taken yet."""
        position = np.column_stack([self.row, self.column])[~self.taken]
        return [
            (slice(r, r + self.side), slice(c, c + self.side))
            for r, c in np.unique(position // self.side, axis=0) * self.side
        ]

    def moments(self) -> NDArray[np.float64]:
        """Return mean and sd of each channel, (2, dim), once all are taken; no sd is 0."""
        values = self.values.astype(np.float64)
        sd = values.std(axis=0)
        return np.stack([values.mean(axis=0), np.where(sd > 0, sd, 1.0)])
