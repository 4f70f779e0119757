"""HIPT as Pixel2Gene and iStar see it: patches of 16 pixels, and squares among all of the slide.

A first network sees squares of 256 pixels that overlap; a second one their class tokens, all of the
slide's at once. So a value hangs on the whole slide, and a first pass over all of it, glass too, is
kept in the cache.

References
----------
Chen et al., Scaling vision transformers to gigapixel images via hierarchical self-supervised
learning, CVPR 2022, 16144-16155, arXiv:2206.02647
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

from napari_stenhance.errors import InputError
from napari_stenhance.features.cropping import Block, Crops, encode_crops
from napari_stenhance.features.encoder import TileRequest
from napari_stenhance.features.forward import Forward, Precision
from napari_stenhance.features.networks import HALF, SEED, EncoderNetwork
from napari_stenhance.features.replica import Normalisation
from napari_stenhance.features.weights import load_weights
from napari_stenhance.running.device import devices_like, inference_errors, keep_out_triton
from napari_stenhance.running.prefetch import prefetch
from napari_stenhance.running.random import seeded
from napari_stenhance.storage.checked import CheckedArray, checked, open_node
from napari_stenhance.storage.tiles import (
    Tile,
    create_array,
    is_done,
    missing_tiles,
    sweep_partial,
    write_tile,
)

if TYPE_CHECKING:
    import torch

VERSION = 1
MPP, PITCH_UM, SIDE_PX, CELL_PX = 0.5, 8.0, 256, 16
CELLS = SIDE_PX // CELL_PX
# Slides are filled up to whole regions of so many squares along each side, as published.
_REGION = 16
_TOKEN, _CONTEXT, _DIM = 384, 192, 579
_KIND, _TILE = "hipt1", 8
_MAGNIFIED = 1.5
_SMOOTH_CONTEXT, _SMOOTH_PATCHES = 16, 4
Box = tuple[slice, slice]

HIPT_256 = EncoderNetwork(
    name="hipt-256",
    arch="vit_small_patch16_224",
    side_px=SIDE_PX,
    mean=HALF,
    std=HALF,
    licence="Apache-2.0 with Commons Clause",
    commercial=False,
    citation=(
        "Chen et al., Scaling vision transformers to gigapixel images via hierarchical "
        "self-supervised learning, CVPR 2022, 16144-16155, arXiv:2206.02647"
    ),
    resizing="dino",
    files=("vit256_small_dino.pth",),
    page="https://github.com/mahmoodlab/HIPT",
    sha256={
        "vit256_small_dino.pth": "6960cd5a8657dc8bb214671aa0c6dbd3f5b698e84386884955836487ddc89e24"
    },
    parameters=21_665_664,
    # All that its training kept.
    file_bytes=704_238_867,
    trained=True,
)


class HiptNetworks:
    """Both networks on a device.

    Attributes
    ----------
    classes, tokens : Forward
        Class tokens of squares, (n, 384), and their patches, (n, 16, 16, 384).
    """

    def __init__(
        self,
        identity: str,
        device: torch.device,
        weights: tuple[Path, Path] | None,
        precision: Precision | None = None,
        network: EncoderNetwork = HIPT_256,
    ) -> None:
        """Load the weights of the first and the second; None for random ones.

        Raises
        ------
        InputError
            If they do not fit.
        InferenceError
            If the device cannot hold them.
        """
        keep_out_triton()
        import torch

        from napari_stenhance.features.hipt_network import ContextNetwork

        first, second = weights or (None, None)

        def forward(output: Any) -> Forward:
            return Forward(
                lambda: network.load(first),
                "hipt",
                SIDE_PX,
                Normalisation(network.mean, network.std),
                devices_like(device),
                output,
                () if precision is None else (precision,),
            )

        self.classes = forward(lambda model, x: model.forward_features(x)[:, 0])
        self.tokens = forward(
            lambda model, x: model.forward_features(x)[:, 1:].unflatten(1, (CELLS, CELLS))
        )
        with seeded(SEED):
            context = ContextNetwork().eval()
        if second is not None:
            load_weights(context, second, trained=True)
        with inference_errors("Loading hipt"), torch.inference_mode():
            self._context = context.to(device)
        self._identity, self._device = identity, device

    def context(self, squares: NDArray[np.float32]) -> NDArray[np.float32]:
        """Let the second network see class tokens in rows and columns: (R, C, 192)."""
        import torch

        with inference_errors("Encoding with hipt"), torch.inference_mode():
            seen = self._context(torch.from_numpy(squares).to(self._device))
            found: NDArray[np.float32] = seen.cpu().numpy()
        return found

    def fingerprint(self) -> str:
        """Identify weights, settings, and whatever else may change a bit of a vector."""
        return f"hipt-{self.classes.digest(VERSION, self._identity)}"


@dataclass(frozen=True)
class HiptEncoder:
    """HIPT as the `SlideEncoder` of a slide: context, patches, mean red, green and blue.

    Attributes
    ----------
    networks : HiptNetworks
    slide_mpp : float
        Micrometres per pixel of the slide.
    shifts : int
        Along each axis: squares begin at each 256 ⁄ shifts pixels, and a superpixel is averaged
        over all that cover it.
    legacy_edges : bool
        As published, where squares begin on the slide only and sums of fewer are divided by as
        many, the last 256 pixels are 0, and beyond the slide its last pixels are repeated.
    smooth : bool
        Whether context is averaged over 16 × 16 superpixels and patches over 4 × 4, as iStar does.
    """

    networks: HiptNetworks
    slide_mpp: float
    shifts: int = 4
    legacy_edges: bool = False
    smooth: bool = False
    name: str = "hipt"
    dim: int = _DIM
    pitch_um: float = PITCH_UM
    mpp: float = MPP

    @property
    def window_px(self) -> int:
        """Side of what the same squares cover, in pixels."""
        return SIDE_PX // self.shifts

    def fingerprint(self) -> str:
        """Identify weights and settings."""
        return self._of_context() + ("-smooth" if self.smooth else "")

    def _of_context(self) -> str:
        legacy = "-legacy" if self.legacy_edges else ""
        return f"{self.networks.fingerprint()}-{self.shifts**2}{legacy}"

    def doubts(self) -> tuple[str, ...]:
        """Say that the slide has too few pixels."""
        times = self.slide_mpp / MPP
        if times <= _MAGNIFIED:
            return ()
        doubt = (
            f"The slide is magnified {times:.1f} times, to the {MPP} µm per pixel that hipt sees: "
            f"it has only {self.slide_mpp:.3g} µm per pixel."
        )
        return (doubt,)

    def encode_tiles(self, request: TileRequest) -> Iterator[NDArray[np.float16]]:
        """Yield the superpixels of each rectangle, (rows, columns, 579)."""
        context = self.context(request)
        margin = SIDE_PX - self.window_px

        def read(box: Box) -> NDArray[np.uint8]:
            return _pixels(
                request,
                [CELL_PX * s.start - margin for s in box],
                [CELL_PX * s.stop + margin for s in box],
            )

        wide = [self._widened(request, box) for box in request.boxes]
        pixels = prefetch(read, wide, request.workers)
        for box, wider, seen in zip(request.boxes, wide, pixels, strict=True):
            found = np.empty((*(s.stop - s.start for s in box), _DIM), np.float32)
            found[..., :_CONTEXT] = self._context_in(request, box, context)
            patches = self._patches(request, wider, seen)
            if self.smooth:
                patches = self._mean(request, box, patches, wider, _SMOOTH_PATCHES)
            found[..., _CONTEXT : _CONTEXT + _TOKEN] = patches
            found[..., _CONTEXT + _TOKEN :] = _colours(seen, box, wider, margin)
            yield found.astype(np.float16)

    def _widened(self, request: TileRequest, box: Box) -> Box:
        """Add what superpixels are averaged with, in whole windows of the slide."""
        if not self.smooth:
            return box
        step = CELLS // self.shifts
        low = (max(s.start - step, 0) for s in box)
        high = (min(s.stop + step, n) for s, n in zip(box, self._extent(request), strict=True))
        rows, columns = (slice(*ends) for ends in zip(low, high, strict=True))
        return rows, columns

    def _extent(self, request: TileRequest) -> list[int]:
        """Return how many superpixels whole windows span along each axis of the slide."""
        step = CELLS // self.shifts
        return [-(-n // step) * step for n in request.grid.shape]

    def _context_in(
        self, request: TileRequest, box: Box, context: NDArray[np.float16]
    ) -> NDArray[np.float32]:
        """Spread the context of steps over the superpixels of a rectangle."""
        step = CELLS // self.shifts
        if self.smooth:
            whole = slice(0, context.shape[0] * step), slice(0, context.shape[1] * step)
            return self._mean(request, box, context, whole, _SMOOTH_CONTEXT, step)
        here = context[tuple(slice(s.start // step, s.stop // step) for s in box)]
        return here.repeat(step, axis=0).repeat(step, axis=1).astype(np.float32)

    def _mean(
        self,
        request: TileRequest,
        box: Box,
        values: NDArray[Any],
        known: Box,
        width: int,
        step: int = 1,
    ) -> NDArray[np.float32]:
        """Average values of the superpixels of `known`, or of steps of them, over a rectangle.

        Over as many before as from a superpixel on, as OpenCV does for even widths; the border is
        mirrored.
        """
        mean = values
        for axis, size in enumerate(self._extent(request)):
            at = np.arange(box[axis].start - width // 2, box[axis].stop + width // 2 - 1)
            beyond = at >= size
            at = np.where(at < 0, -1 - at, np.where(beyond, 2 * size - 1 - at, at))
            mean = np.take(mean, (at - known[axis].start) // step, axis=axis).astype(np.float32)
            if self.legacy_edges:
                # The border lies far behind what is 0 there.
                np.moveaxis(mean, axis, 0)[beyond] = 0
            count = box[axis].stop - box[axis].start
            # One by one, so that no value hangs on where a rectangle begins.
            parts = [np.moveaxis(mean, axis, 0)[n : n + count] for n in range(width)]
            mean = np.moveaxis(sum(parts[1:], parts[0]) / np.float32(width), 0, axis)
        return mean

    def _patches(
        self, request: TileRequest, box: Box, pixels: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Average the patches of all squares that cover superpixels, given pixels with a margin."""
        rows_of, step = CELLS // self.shifts, self.window_px
        shape = [s.stop - s.start for s in box]
        margin = CELLS - rows_of
        at = np.argwhere(self._held(request, box))
        total = np.zeros((*(n + 2 * margin for n in shape), _TOKEN), np.float32)
        start, squares = 0, Crops(SIDE_PX, (Block(pixels, at * step, np.arange(len(at))),), len(at))
        for part in squares.parts(self.networks.tokens.batch):
            request.job.check()
            for (y, x), patches in zip(
                (at[start : start + len(part)] * rows_of).tolist(),
                self.networks.tokens(part),
                strict=True,
            ):
                total[y : y + CELLS, x : x + CELLS] += patches
            start += len(part)
        mean = total[margin : margin + shape[0], margin : margin + shape[1]]
        mean /= np.float32(self.shifts**2)
        mean[~np.logical_and.outer(*self._kept(request, box))] = 0
        return mean

    def _held(self, request: TileRequest, box: Box) -> NDArray[np.bool_]:
        """Tell which squares that reach a rectangle cover tissue of it, by where they begin."""
        rows_of = CELLS // self.shifts
        margin = CELLS - rows_of
        shape = [s.stop - s.start for s in box]
        here = np.zeros([n + 2 * margin for n in shape], bool)
        known = request.tissue[box]
        if self.smooth:
            known = ndimage.maximum_filter(known, size=_SMOOTH_PATCHES + 1)
        here[margin : margin + known.shape[0], margin : margin + known.shape[1]] = known
        covers = sliding_window_view(here, (CELLS, CELLS))[::rows_of, ::rows_of].any(axis=(2, 3))
        first = (s.start // rows_of for s in box)
        begins = [
            self._begins(request, axis)[low : low + covers.shape[axis]]
            for axis, low in enumerate(first)
        ]
        held: NDArray[np.bool_] = covers & np.logical_and.outer(*begins)
        return held

    def _begins(self, request: TileRequest, axis: int) -> NDArray[np.bool_]:
        """Tell at which steps along an axis squares begin, from `shifts` − 1 before the slide."""
        steps = -(-request.grid.shape[axis] * self.shifts // CELLS)
        at = np.arange(-self.shifts + 1, steps)
        if not self.legacy_edges:
            return np.ones(len(at), bool)
        return (at >= 0) & (at < _whole_squares(request, axis) * self.shifts - self.shifts)

    def _kept(self, request: TileRequest, box: Box) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Tell which rows and columns are not set to 0."""
        kept = []
        for axis, span in enumerate(box):
            last = span.stop
            if self.legacy_edges:
                last = (_whole_squares(request, axis) - 1) * CELLS
            kept.append(np.arange(span.start, span.stop) < last)
        return kept[0], kept[1]

    def context(self, request: TileRequest) -> NDArray[np.float16]:
        """Return what the second network says of each step, (rows, columns, 192), from the cache.

        Raises
        ------
        InputError
            If the slide is too small to be seen as published.
        """
        slide, cache = request.slide, request.cache
        if self.legacy_edges and min(_whole_squares(request, axis) for axis in (0, 1)) < 2:
            msg = (
                f"{slide.path}: the slide is too small to be seen by hipt as published, which "
                f"takes {SIDE_PX * MPP:g} µm off; leave legacy_edges out."
            )
            raise InputError(msg, option="encoder")
        key = f"{slide.key}-{self._of_context()}-{request.grid.key()}"
        steps = [-(-n * self.shifts // CELLS) for n in request.grid.shape]
        entry = cache.entry(_KIND, key)
        with cache.lock(entry, request.job):
            if not cache.has(_KIND, key):
                with cache.building(_KIND, key) as folder:
                    _create(zarr.open_group(folder, mode="w"), steps, self.shifts)
            sweep_partial(entry)
            group = zarr.open_group(entry, mode="r+")
            classes, context = (
                checked(open_node(group, name, zarr.Array)) for name in ("classes", "context")
            )
            if not is_done(context, (0, 0)):
                self._see_all(request, classes)
                context[:] = self._among_all(request, np.asarray(classes[:]))
        return np.asarray(context[:])

    def _see_all(self, request: TileRequest, classes: CheckedArray) -> None:
        """Encode the class tokens of the squares of the whole slide that are missing."""
        step, missing = self.window_px, missing_tiles(classes)

        def read(tile: Tile) -> Crops:
            low, high = (
                [(n - self.shifts + 1) * step for n in ends]
                for ends in zip(
                    *((s.start, s.stop) for s in (tile.rows, tile.columns)), strict=True
                )
            )
            pixels = _pixels(request, low, [n - step + SIDE_PX for n in high])
            corners = np.indices(tile.shape).reshape(2, -1).T * step
            block = Block(pixels, corners, np.arange(len(corners)))
            return Crops(SIDE_PX, (block,), len(corners))

        doing = f"Looking at the whole of {request.slide.name} with hipt"
        with request.job.stage(doing, len(missing)) as stage:
            squares = prefetch(read, missing, request.workers)
            for tile, crops in zip(missing, squares, strict=True):
                see = self.networks.classes
                found = encode_crops(see, crops, see.batch, request.job)
                write_tile(classes, tile, found.reshape(*tile.shape, _TOKEN))
                stage.advance()

    def _among_all(self, request: TileRequest, classes: NDArray[np.float32]) -> NDArray[np.float16]:
        """Show the second network the squares of each shift, and average over those at a step."""
        begins = [np.flatnonzero(self._begins(request, axis)) for axis in (0, 1)]
        seen = np.zeros((*classes.shape[:2], _CONTEXT), np.float32)
        for down in range(self.shifts):
            for along in range(self.shifts):
                request.job.check()
                rows, columns = begins[0][down :: self.shifts], begins[1][along :: self.shifts]
                here = np.ix_(rows, columns)
                full = self._filled(request, classes[here], (rows[0], columns[0]))
                seen[here] = self.networks.context(full)[: len(rows), : len(columns)]
        steps = (slice(0, n - self.shifts + 1) for n in seen.shape[:2])
        around = sliding_window_view(seen, (self.shifts, self.shifts), axis=(0, 1))
        context = around.mean(axis=(3, 4))[tuple(steps)]
        if self.legacy_edges:
            for axis in (0, 1):
                last = (_whole_squares(request, axis) - 1) * self.shifts
                np.moveaxis(context, axis, 0)[last:] = 0
        return context.astype(np.float16)

    def _filled(
        self, request: TileRequest, classes: NDArray[np.float32], first: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Fill squares up to whole regions: with white ones, or as published."""
        rows, columns = classes.shape[:2]
        size = [-(-n // _REGION) * _REGION for n in (rows, columns)]
        full = np.empty((*size, _TOKEN), np.float32)
        full[:rows, :columns] = classes
        if not self.legacy_edges:
            white = np.full((1, SIDE_PX, SIDE_PX, 3), 255, np.uint8)
            token = self.networks.classes(Crops.from_array(white))[0]
            full[rows:], full[:, columns:] = token, token
            return full
        top, left = ((n - self.shifts + 1) * self.window_px for n in first)
        bottom, right = top + rows * SIDE_PX, left + columns * SIDE_PX
        below = _pixels(request, [bottom - 1, left], [bottom, right])
        beside = _pixels(request, [top, right - 1], [bottom, right])
        repeated = [
            *below.repeat(SIDE_PX, axis=0).reshape(SIDE_PX, columns, SIDE_PX, 3).swapaxes(0, 1),
            *beside.repeat(SIDE_PX, axis=1).reshape(rows, SIDE_PX, SIDE_PX, 3),
            np.broadcast_to(below[:, -1:], (SIDE_PX, SIDE_PX, 3)),
        ]
        tokens = self.networks.classes(Crops.from_array(np.stack(repeated)))
        full[rows:, :columns] = tokens[:columns]
        full[:rows, columns:] = tokens[columns:-1, None]
        full[rows:, columns:] = tokens[-1]
        return full


def _whole_squares(request: TileRequest, axis: int) -> int:
    """Count the squares along an axis of a slide that is filled up to whole ones."""
    return -(-request.grid.shape[axis] // CELLS)


def _pixels(request: TileRequest, low: Sequence[int], high: Sequence[int]) -> NDArray[np.uint8]:
    """Read pixels of 0.5 µm between two (row, column), counted from the slide's corner."""
    corner = request.grid.corner_um
    (y0, x0), (y1, x1) = ([corner + n * MPP for n in at] for at in (low, high))
    return request.slide.read((x0, y0, x1, y1), MPP)


def _colours(
    pixels: NDArray[np.uint8], box: Box, wider: Box, margin_px: int
) -> NDArray[np.float64]:
    """Average red, green and blue, from 0 to 1, over each superpixel of a rectangle."""
    low = [margin_px + CELL_PX * (b.start - w.start) for b, w in zip(box, wider, strict=True)]
    rows, columns = (s.stop - s.start for s in box)
    inner = pixels[low[0] :, low[1] :][: rows * CELL_PX, : columns * CELL_PX]
    cells = inner.reshape(rows, CELL_PX, columns, CELL_PX, 3)
    return cells.mean(axis=(1, 3), dtype=np.float64) / 255


def _create(group: zarr.Group, steps: Sequence[int], shifts: int) -> None:
    begins = [n + shifts - 1 for n in steps]
    names = "y", "x", "c"
    create_array(
        group,
        "classes",
        shape=(*begins, _TOKEN),
        chunks=(_TILE, _TILE, _TOKEN),
        dtype="f4",
        dimension_names=names,
    )
    create_array(
        group,
        "context",
        shape=(*steps, _CONTEXT),
        chunks=(*steps, _CONTEXT),
        dtype="f2",
        dimension_names=names,
    )
