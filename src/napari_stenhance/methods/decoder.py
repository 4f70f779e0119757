"""The linear decoder: what turns a latent vector into any gene's value."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.held_out import HeldOutSpots
from napari_stenhance.section.gene_names import aliases_of
from napari_stenhance.storage.checked import has_node, open_node, read_whole
from napari_stenhance.storage.tiles import create_array

Unit = Literal["log1p CP10k", "counts per superpixel"]
_NEAREST, _NEAR = 3, 0.7
"""How many names are offered for one that is not there, and how much alike they must be."""


class DepthChannel(NamedTuple):
    """How the last channel of a latent is read as depth.

    Attributes
    ----------
    mean : float
        Log of the total count of a spot, where the channel is 0.
    unit : float
        What one of the channel adds to it.
    """

    mean: float
    unit: float


@dataclass(frozen=True)
class Decoder:
    """What turns a latent vector into gene values: `latent @ weights + bias`, or nothing at all.

    Attributes
    ----------
    genes : tuple of str
    weights : ndarray of float32, shape (r, genes), or None
        None where the latent holds the genes themselves, one channel each; r is their number.
    bias : ndarray of float32, shape (genes,)
    unit : str
        Of the decoded values.
    held_out_r : ndarray of float32, shape (genes,)
        Pearson correlation, over spots, of each gene on held-out spatial blocks of the training
        sections: the mean over those where the gene varies; NaN where it varies in none, or no
        block was held out.
    held_out_r_given_depth : ndarray of float32, shape (genes,)
        The same with the logarithm of the spots' total count held constant; NaN, too, in a result
        that was written before this was kept.
    spread_scale : ndarray of float32, shape (genes,)
        Brings √(weights² · variance), which ignores covariances, to the members' true standard
        deviation on held-out blocks.
    other_names : tuple of str
        What else each gene is called, as its id; nothing where that is not known.
    held_out : HeldOutSpots or None
        What intervals and cuts come from; None where spots were not held out, or not kept.
    coverage : ndarray of float32, shape (genes,), or None
        Share of the held-out spots that lie within prediction intervals of nine in ten which other
        blocks of tissue gave; None without `held_out`, and in what was written before it was kept.
    depth : DepthChannel or None
        None where depth was not learned apart.
    doubts : tuple of str
        What held-out blocks say against trusting any of it.
    """

    genes: tuple[str, ...]
    weights: NDArray[np.float32] | None
    bias: NDArray[np.float32]
    unit: Unit
    held_out_r: NDArray[np.float32]
    held_out_r_given_depth: NDArray[np.float32]
    spread_scale: NDArray[np.float32]
    doubts: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    held_out: HeldOutSpots | None = None
    coverage: NDArray[np.float32] | None = None
    depth: DepthChannel | None = None

    @property
    def aliases(self) -> dict[str, str]:
        """Which gene each other name means."""
        return aliases_of(self.genes, self.other_names)

    @property
    def channels(self) -> int:
        """Length of a latent vector, r."""
        return len(self.genes) if self.weights is None else self.weights.shape[0]

    def index_of(self, gene: str) -> int:
        """Find a gene.

        Raises
        ------
        InputError
            If it is not among `genes`.
        """
        return gene_index(gene, self.genes, "it was not measured or not chosen.")

    def indices_of(self, genes: Sequence[str]) -> NDArray[np.intp]:
        """Find several genes; see `index_of`."""
        return np.array([self.index_of(gene) for gene in genes], dtype=np.intp)

    def values(self, latent: NDArray[Any], genes: NDArray[np.intp] | int) -> NDArray[np.float32]:
        """Decode latents (…, r); clipped at 0, as everywhere that values are shown or exported."""
        if self.weights is None:
            values = np.asarray(latent[..., genes], np.float32) + self.bias[genes]
            return np.maximum(values, np.float32(0), out=values)
        decoded = np.asarray(latent, np.float32) @ self.weights[:, genes] + self.bias[genes]
        # np.maximum keeps NaN, the mark of what was not predicted.
        return np.maximum(decoded, np.float32(0), out=decoded)

    def total(self, latent: NDArray[Any]) -> NDArray[np.float32]:
        """Return how much a spot would count in all, of latents (…, r).

        Raises
        ------
        InputError
            If depth was not learned apart.
        """
        if self.depth is None:
            msg = (
                "This run says nothing of how much a spot counts in all: preset robust does, but "
                "not of bins with few counts, nor in runs of older versions."
            )
            raise InputError(msg)
        log = np.asarray(latent[..., -1], np.float32) * np.float32(self.depth.unit)
        total: NDArray[np.float32] = np.exp(log + np.float32(self.depth.mean))
        return total

    def spread(self, variance: NDArray[Any], gene: int) -> NDArray[np.float32]:
        """Return the members' standard deviation of one gene from variances along the axes."""
        if self.weights is None:
            squared = np.asarray(variance[..., gene], np.float32)
        else:
            squared = np.asarray(variance, np.float32) @ self.weights[:, gene] ** 2
        spread: NDArray[np.float32] = np.sqrt(squared) * self.spread_scale[gene]
        return spread

    def only(self, gene: str) -> tuple[Decoder, int | None]:
        """Return a decoder of one gene, and the one channel that it decodes; None if all.

        Raises
        ------
        InputError
            If the gene is not among `genes`.
        """
        index = self.index_of(gene)
        one = slice(index, index + 1)
        decoder = Decoder(
            genes=(gene,),
            weights=None if self.weights is None else self.weights[:, one],
            bias=self.bias[one],
            unit=self.unit,
            held_out_r=self.held_out_r[one],
            held_out_r_given_depth=self.held_out_r_given_depth[one],
            spread_scale=self.spread_scale[one],
            doubts=self.doubts,
            other_names=self.other_names[one],
        )
        return decoder, index if self.weights is None else None

    def write(self, group: zarr.Group) -> None:
        """Write `w` (if there are weights), `b`, gene names and held-out accuracy as arrays."""
        others = [("other_names", _letters(self.other_names), ("gene", "utf8"))]
        arrays: tuple[tuple[str, NDArray[Any], tuple[str, ...]], ...] = (
            *([] if self.weights is None else [("w", self.weights, ("latent", "gene"))]),
            ("b", self.bias, ("gene",)),
            ("held_out_r", self.held_out_r, ("gene",)),
            ("held_out_r_given_depth", self.held_out_r_given_depth, ("gene",)),
            ("spread_scale", self.spread_scale, ("gene",)),
            ("genes", _letters(self.genes), ("gene", "utf8")),
            *(others if self.other_names else []),
            *([] if self.coverage is None else [("coverage", self.coverage, ("gene",))]),
        )
        for name, values, axes in arrays:
            array = create_array(
                group,
                name,
                shape=values.shape,
                chunks=values.shape,
                dtype=values.dtype.str.lstrip("<|"),
                dimension_names=axes,
            )
            array[...] = values
        said = {"unit": self.unit, "doubts": list(self.doubts)}
        depth = {} if self.depth is None else {"depth": list(self.depth)}
        group.attrs.update({**said, **depth})
        if self.held_out is not None:
            self.held_out.write(group)

    @classmethod
    def read(cls, group: zarr.Group) -> Decoder:
        """Read what `write` wrote.

        Raises
        ------
        InputError
            If an array is missing or damaged.
        ValueError
            If they do not fit together.
        """
        kept = ("b", "held_out_r", "spread_scale", "genes")
        # Those that not every result has.
        optional = ("w", "held_out_r_given_depth", "other_names", "coverage")
        more = [name for name in optional if has_node(group, name)]
        arrays = {name: _read(group, name) for name in (*kept, *more)}
        weights = arrays.pop("w", None)
        names = _words(arrays.pop("genes"))
        others = _words(arrays.pop("other_names")) if "other_names" in arrays else names[:0]
        unit = str(group.attrs["unit"])
        fits = all(values.shape == names.shape for values in arrays.values())
        fits = fits and len(others) in (0, len(names))
        if weights is not None:
            fits = fits and weights.ndim == 2 and weights.shape[1:] == names.shape
        if not fits or unit not in get_args(Unit):
            msg = "its arrays do not fit together"
            raise ValueError(msg)
        return cls(
            genes=tuple(name.decode() for name in names),
            weights=weights,
            bias=arrays["b"],
            unit=unit,  # type: ignore[arg-type]
            held_out_r=arrays["held_out_r"],
            held_out_r_given_depth=arrays.get(
                "held_out_r_given_depth", np.full(len(names), np.nan, np.float32)
            ),
            spread_scale=arrays["spread_scale"],
            doubts=tuple(group.attrs.get("doubts", ())),  # type: ignore[arg-type]
            other_names=tuple(name.decode() for name in others),
            held_out=HeldOutSpots.find(group),
            coverage=arrays.get("coverage"),
            depth=depth_channel(group.attrs.get("depth")),
        )


def depth_channel(kept: Any) -> DepthChannel | None:
    """Read what was kept of a depth channel; None where nothing was.

    Raises
    ------
    ValueError
        If it is not two finite numbers.
    """
    if kept is None:
        return None
    mean, unit = (float(number) for number in kept)
    if not (math.isfinite(mean) and math.isfinite(unit)):
        msg = "its depth is no number"
        raise ValueError(msg)
    return DepthChannel(mean, unit)


def _letters(names: Sequence[str]) -> NDArray[np.uint8]:
    """Write names as bytes, one a row."""
    width = max((len(name.encode()) for name in names), default=1) or 1
    return np.array([n.encode() for n in names], dtype=f"S{width}").view("u1").reshape(-1, width)


def _words(letters: NDArray[Any]) -> NDArray[np.bytes_]:
    words: NDArray[np.bytes_] = np.ascontiguousarray(letters).view(f"S{letters.shape[1]}").ravel()
    return words


def _read(group: zarr.Group, name: str) -> NDArray[Any]:
    values: NDArray[Any] = read_whole(open_node(group, name, zarr.Array))
    return values


def gene_index(gene: str, genes: tuple[str, ...], otherwise: str) -> int:
    """Find a gene among those of a run.

    Raises
    ------
    InputError
        If it is not there; `otherwise` is what to say where none is called alike.
    """
    try:
        return genes.index(gene)
    except ValueError:
        raise no_such_gene(gene, genes, otherwise) from None


def no_such_gene(gene: str, genes: Collection[str], otherwise: str) -> InputError:
    """Say that a gene is not among some, and which may be meant.

    Parameters
    ----------
    gene : str
    genes : collection of str
    otherwise : str
        What to say where none is called alike.
    """
    word = str(gene).casefold()
    near = [one for one in genes if one.casefold() == word][:_NEAREST]
    near = near or difflib.get_close_matches(str(gene), genes, _NEAREST, _NEAR)
    near = near or sorted(one for one in genes if word and one.casefold().startswith(word))
    if near:
        *others, last = near[:_NEAREST]
        hint = f"did you mean {', '.join(others)}{' or ' * bool(others)}{last}?"
    else:
        hint = f"{otherwise} The table of genes lists those that are here."
    here = f"among these {len(genes)} genes" if len(genes) != 1 else "the one gene that is here"
    return InputError(f"Gene {gene!r} is not {here}; {hint}")
