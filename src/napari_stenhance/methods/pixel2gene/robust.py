"""Pixel2Gene, preset `robust`: trained so that it predicts tissue it has not seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from napari_stenhance.errors import InputError
from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.features.registry import encoder_identity
from napari_stenhance.methods.basis import GeneBasis, fit_basis
from napari_stenhance.methods.ensemble import Ensemble
from napari_stenhance.methods.field import Decoder
from napari_stenhance.methods.pixel2gene.inputs import FAR_UM, inputs_of
from napari_stenhance.methods.protocol import Latent
from napari_stenhance.methods.sample import Sample
from napari_stenhance.methods.training import Schedule, SpotData, train
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.scoring.splits import block_folds
from napari_stenhance.storage.tiles import Tile, tiles_of

_TILE = 256
_GENES_AT_ONCE = 1000
_SLICE_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of `robust`.

    Attributes
    ----------
    members : int
        MLPs in the ensemble.
    folds : int
        Member m holds out the blocks of fold m mod `folds`.
    block_um : float
        Side of the spatial blocks that are held out.
    hidden : tuple of int
        Widths; the published network has four layers of 256.
    dropout : float
    rank : int
        Largest rank of the gene basis; axes that held-out blocks do not support are cut off.
    clip : float
        Standardised inputs beyond this many standard deviations are cut to it.
    most_pairs : int
        Superpixels kept for training, over all spots.
    schedule : Schedule
    """

    members: int = 8
    folds: int = 5
    block_um: float = 1000.0
    hidden: tuple[int, ...] = (128, 128, 128, 128)
    dropout: float = 0.4
    rank: int = 32
    clip: float = 5.0
    most_pairs: int = 400_000
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True)
class FittedRobust:
    """A trained ensemble: `Fitted`.

    Attributes
    ----------
    decoder : Decoder
    network : Ensemble
    shift, scale : ndarray of float32, shape (inputs,)
        Standardise the inputs.
    clip : float
    pitch_um : float
    encoder : str
        Name of the encoder whose features it was trained on.
    encoder_identity : str
        Weights and version of that encoder.
    score_scale : float
        What outputs are multiplied with to be scores on the gene basis.
    """

    decoder: Decoder
    network: Ensemble
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]
    clip: float
    pitch_um: float
    encoder: str
    encoder_identity: str
    score_scale: float

    @property
    def halo_um(self) -> float:
        """Half of the widest context window, in micrometres."""
        return FAR_UM / 2

    def latent(self, tile: FeatureTile) -> Latent:
        """Predict the core of a tile: mean and variance of the members' scores.

        Raises
        ------
        InferenceError
            If the device fails.
        """
        rows, columns = tile.core
        there = tile.tissue[rows, columns]
        shape = (*there.shape, self.decoder.weights.shape[0])
        mean, variance = (np.full(shape, np.nan, np.float32) for _ in range(2))
        if there.any():
            outputs = self.scores(inputs_of(tile, self.pitch_um))
            mean[there], variance[there] = outputs.mean(axis=0), outputs.var(axis=0, ddof=1)
        return Latent(mean, variance)

    def scores(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return each member's scores, (members, n, r), of raw inputs (n, channels)."""
        device = self.network.weights[0].device
        members = self.network.weights[0].shape[0]
        widest = max(w.shape[2] for w in self.network.weights)
        # Fixed slices: matrix products of another size may differ in the last bit.
        at_once = _SLICE_BYTES // (4 * members * widest)
        standard = standardise(inputs, self.shift, self.scale, self.clip)
        parts = []
        with torch.inference_mode(), inference_errors("Prediction"):
            for low in range(0, len(standard), at_once):
                part = torch.from_numpy(standard[low : low + at_once]).to(device)
                outputs = self.network(part.expand(members, *part.shape))
                parts.append(outputs[..., : shape_r(self.decoder)].cpu().numpy())
        return np.concatenate(parts, axis=1) * np.float32(self.score_scale)

    def save(self, folder: Path) -> None:
        """Write weights.safetensors and config.json."""
        tensors = {
            **{f"weight{n}": w.detach().cpu().numpy() for n, w in enumerate(self.network.weights)},
            **{f"bias{n}": b.detach().cpu().numpy() for n, b in enumerate(self.network.biases)},
            "shift": self.shift,
            "scale": self.scale,
            "decoder_weights": self.decoder.weights,
            "decoder_bias": self.decoder.bias,
            "held_out_r": self.decoder.held_out_r,
            "spread_scale": self.decoder.spread_scale,
        }
        save_file(tensors, folder / "weights.safetensors")
        config = {
            "method": "pixel2gene",
            "preset": "robust",
            "encoder": self.encoder,
            "encoder_identity": self.encoder_identity,
            "pitch_um": self.pitch_um,
            "clip": self.clip,
            "score_scale": self.score_scale,
            "unit": self.decoder.unit,
            "genes": list(self.decoder.genes),
        }
        (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> FittedRobust:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If files are missing or damaged.
        """
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
            tensors = load_file(folder / "weights.safetensors")
            layers = sum(name.startswith("weight") for name in tensors)
            weights = [tensors[f"weight{n}"] for n in range(layers)]
            network = Ensemble(
                weights[0].shape[0],
                weights[0].shape[1],
                weights[-1].shape[2],
                [w.shape[2] for w in weights[:-1]],
                drop=0.0,
            )
            with torch.no_grad():
                for n, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
                    w.copy_(torch.from_numpy(weights[n]))
                    b.copy_(torch.from_numpy(tensors[f"bias{n}"]))
            decoder = Decoder(
                genes=tuple(config["genes"]),
                weights=tensors["decoder_weights"],
                bias=tensors["decoder_bias"],
                unit=config["unit"],
                held_out_r=tensors["held_out_r"],
                spread_scale=tensors["spread_scale"],
            )
            return cls(
                decoder=decoder,
                network=network.to(device).eval(),
                shift=tensors["shift"],
                scale=tensors["scale"],
                clip=config["clip"],
                pitch_um=config["pitch_um"],
                encoder=config["encoder"],
                encoder_identity=config["encoder_identity"],
                score_scale=config["score_scale"],
            )
        except Exception as error:
            # Whatever is wrong inside the file, the user's way out is the same.
            msg = (
                f"{folder}: the saved model cannot be read ({error}); train it again with enhance."
            )
            raise InputError(msg) from error


def shape_r(decoder: Decoder) -> int:
    """Return the rank of a decoder."""
    return int(decoder.weights.shape[0])


def standardise(
    inputs: NDArray[np.float32], shift: NDArray[np.float32], scale: NDArray[np.float32], clip: float
) -> NDArray[np.float32]:
    """Subtract, divide, cut off."""
    standard: NDArray[np.float32] = np.clip((inputs - shift) / scale, -clip, clip)
    return standard


@dataclass(frozen=True)
class Robust:
    """Pixel2Gene with preset `robust`: `Method`.

    Weak supervision as published (the mean over a spot's superpixels must match the spot), with
    log1p CP10k instead of min–max counts, a gene basis instead of single genes, standardised
    features with their context, dropout, weight decay, and early stopping on spatial blocks.

    Attributes
    ----------
    encoder : str
    seed : int
    device : torch.device
    recipe : Recipe
    """

    encoder: str
    seed: int
    device: torch.device
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def halo_um(self) -> float:
        """How far around a spot's superpixels features are needed, in micrometres."""
        return FAR_UM / 2

    def fit(self, samples: Sequence[Sample], genes: Sequence[str], job: Job) -> FittedRobust:
        """Learn from the spots of one or more sections.

        Raises
        ------
        InputError
            If there are fewer than ten spots.
        InferenceError
            If the device fails.
        """
        spots = sum(len(s.xy_um) for s in samples)
        if spots < 2 * self.recipe.folds:
            msg = (
                f"{', '.join(s.name for s in samples)}: only {spots} spots lie on tissue and have "
                f"counts; at least {2 * self.recipe.folds} are needed to train and to hold out."
            )
            raise InputError(msg)
        rng = np.random.default_rng(self.seed)
        expressions = [s.log1p_cp10k(genes) for s in samples]
        basis, scores = fit_basis(expressions, self.recipe.rank, self.seed)
        inputs, spot = _training_inputs(samples, self.recipe, rng, job)
        shift, scale = _moments(inputs, samples[0].features.dim)
        held_out = self._held_out(samples, rng)
        # Scores of unit mean square length: learning rates then suit any data.
        score_scale = float(np.sqrt(np.square(scores, dtype=np.float64).sum(axis=1).mean())) or 1.0
        with torch.random.fork_rng(), inference_errors("Training"):
            torch.manual_seed(self.seed)
            network = Ensemble(
                self.recipe.members,
                inputs.shape[1],
                scores.shape[1],
                self.recipe.hidden,
                self.recipe.dropout,
            ).to(self.device)
            standard = standardise(inputs, shift, scale, self.recipe.clip)
            first = np.searchsorted(spot, np.arange(spots))
            data = SpotData(
                inputs=torch.from_numpy(standard).to(self.device),
                first=torch.from_numpy(first).to(self.device),
                count=torch.from_numpy(np.bincount(spot, minlength=spots)).to(self.device),
                target=torch.from_numpy(scores / np.float32(score_scale)).to(self.device),
            )
            predicted = train(network, data, held_out, self.recipe.schedule, rng, job)
        predicted = predicted * np.float32(score_scale)
        rank = supported_rank(predicted, scores)
        decoder = Decoder(
            genes=tuple(genes),
            weights=basis.axes[:rank],
            bias=basis.mean,
            unit="log1p CP10k",
            held_out_r=_held_out_r(predicted[:, :rank], basis, expressions),
            spread_scale=np.ones(len(genes), np.float32),
        )
        fitted = FittedRobust(
            decoder=decoder,
            network=network.eval(),
            shift=shift,
            scale=scale,
            clip=self.recipe.clip,
            pitch_um=samples[0].features.grid.pitch_um,
            encoder=self.encoder,
            encoder_identity=encoder_identity(self.encoder),
            score_scale=score_scale,
        )
        sample = inputs[rng.choice(len(inputs), min(2048, len(inputs)), replace=False)]
        calibrated = replace(decoder, spread_scale=spread_scales(fitted.scores(sample), decoder))
        return replace(fitted, decoder=calibrated)

    def _held_out(
        self, samples: Sequence[Sample], rng: np.random.Generator
    ) -> list[NDArray[np.int64]]:
        """Draw, for each member, the spots that it holds out; each round has new blocks."""
        held_out: list[NDArray[np.int64]] = []
        while len(held_out) < self.recipe.members:
            fold = np.concatenate(
                [
                    block_folds(s.xy_um, self.recipe.block_um, self.recipe.folds, rng)
                    for s in samples
                ]
            )
            held_out += [np.flatnonzero(fold == k) for k in range(self.recipe.folds)]
        return held_out[: self.recipe.members]


def supported_rank(predicted: NDArray[np.float32], scores: NDArray[np.float32]) -> int:
    """Return how many leading axes lower the squared error on held-out spots; at least one."""
    seen = np.isfinite(predicted).all(axis=1)
    gain = (np.square(scores[seen]) - np.square(scores[seen] - predicted[seen])).sum(axis=0)
    return int(np.cumsum(gain, dtype=np.float64).argmax()) + 1


def spread_scales(scores: NDArray[np.float32], decoder: Decoder) -> NDArray[np.float32]:
    """Return, for each gene, exact over approximate standard deviation of the members.

    Parameters
    ----------
    scores : ndarray of float32, shape (members, superpixels, r)
    decoder : Decoder

    Returns
    -------
    ndarray of float32, shape (genes,)
    """
    centred = scores - scores.mean(axis=0)
    covariance = np.einsum("mnr,mns->rs", centred, centred, dtype=np.float64)
    weights = decoder.weights.astype(np.float64)
    exact = np.einsum("rg,rs,sg->g", weights, covariance, weights, optimize=True)
    approximate = np.diag(covariance) @ weights**2
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt(np.maximum(exact, 0) / approximate)
    return np.where(np.isfinite(scale), scale, 1).astype(np.float32)


def _moments(
    inputs: NDArray[np.float32], dim: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Standardise the context; the features themselves are standardised for each slide."""
    shift = inputs.mean(axis=0, dtype=np.float64)
    scale = inputs.std(axis=0, dtype=np.float64)
    shift[:dim], scale[:dim] = 0, 1
    return shift.astype(np.float32), np.where(scale > 0, scale, 1).astype(np.float32)


def _training_inputs(
    samples: Sequence[Sample], recipe: Recipe, rng: np.random.Generator, job: Job
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gather the inputs of the superpixels under all spots, ordered by spot."""
    spots = sum(len(s.xy_um) for s in samples)
    each = max(recipe.most_pairs // spots, recipe.schedule.superpixels_per_spot)
    inputs, spot, offset = [], [], 0
    for sample in samples:
        kept = _at_most(sample.footprints.spot, each, rng)
        row, column = sample.footprints.row[kept], sample.footprints.column[kept]
        inputs.append(inputs_under(sample, row, column, job))
        spot.append(sample.footprints.spot[kept] + offset)
        offset += len(sample.xy_um)
    return np.concatenate(inputs), np.concatenate(spot)


def _at_most(spot: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Keep at most `most` random pairs of each spot; pairs are ordered by spot and stay so."""
    order = np.lexsort((rng.random(len(spot)), spot))
    first = np.searchsorted(spot, spot)
    return np.sort(order[np.arange(len(spot)) - first < most])


def inputs_under(
    sample: Sample, row: NDArray[np.int64], column: NDArray[np.int64], job: Job
) -> NDArray[np.float32]:
    """Return the inputs of single tissue superpixels, (n, channels), tile by tile."""
    grid = sample.features.grid
    inputs = np.empty((len(row), 4 * sample.features.dim), np.float32)
    halo = round(FAR_UM / 2 / grid.pitch_um)
    number = np.full(grid.shape, -1, dtype=np.int64)
    tiles: list[tuple[Tile, NDArray[np.intp]]] = []
    for tile in tiles_of(grid.shape, _TILE):
        here = np.flatnonzero(
            (row >= tile.rows.start)
            & (row < tile.rows.stop)
            & (column >= tile.columns.start)
            & (column < tile.columns.stop)
        )
        if len(here):
            tiles.append((tile, here))
    with job.stage(f"Reading features under the spots of {sample.name}", len(tiles)) as stage:
        for tile, here in tiles:
            seen = sample.features.tile(tile.rows, tile.columns, halo)
            there = sample.features.tissue[tile.rows, tile.columns]
            values = inputs_of(seen, grid.pitch_um)
            window = number[tile.rows, tile.columns]
            window[there] = np.arange(len(values))
            inputs[here] = values[number[row[here], column[here]]]
            stage.advance()
    return inputs


def _held_out_r(
    predicted: NDArray[np.float32],
    basis: GeneBasis,
    expressions: Sequence[sp.csr_array[np.float32]],
) -> NDArray[np.float32]:
    """Correlate held-out predictions of each gene with what was measured, section by section."""
    genes = basis.axes.shape[1]
    weights = basis.axes[: predicted.shape[1]]
    total = np.zeros(genes)
    offset = 0
    for expression in expressions:
        scores = predicted[offset : offset + expression.shape[0]]
        seen = np.isfinite(scores).all(axis=1)
        offset += expression.shape[0]
        columns = sp.csc_array(expression)
        for low in range(0, genes, _GENES_AT_ONCE):
            some = slice(low, low + _GENES_AT_ONCE)
            measured = columns[:, some].toarray()[seen]
            total[some] += pearson(scores[seen] @ weights[:, some], measured)
    return (total / len(expressions)).astype(np.float32)


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return the hyperparameters as provenance."""
    return asdict(recipe)
