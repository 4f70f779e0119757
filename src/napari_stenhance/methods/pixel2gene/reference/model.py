"""Trained members of Pixel2Gene or iStar: they predict, save and load themselves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.methods.pixel2gene.reference.network import (
    Pixel2GeneReferenceMember,
    Pixel2GeneReferenceNet,
)
from napari_stenhance.methods.pixel2gene.reference.recipe import Pixel2GeneReferenceRecipe
from napari_stenhance.methods.protocol import Latent
from napari_stenhance.methods.saved import GeneModel, Tensors, load_model, shared_parts
from napari_stenhance.running.device import inference_errors

_SLICE_BYTES = 64 * 1024**2
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, kw_only=True)
class Pixel2GeneReferenceModel(GeneModel):
    """Trained members: `Fitted`.

    Attributes
    ----------
    members : tuple of Pixel2GeneReferenceMember
    covered : int
        Superpixels under a spot: a superpixel has this part of a spot's counts.
    recipe : Pixel2GeneReferenceRecipe
    """

    members: tuple[Pixel2GeneReferenceMember, ...]
    covered: int
    recipe: Pixel2GeneReferenceRecipe

    @property
    def crops_um(self) -> None:
        """It sees superpixels."""

    @property
    def halo_um(self) -> float:
        """It sees one superpixel at a time."""
        return 0.0

    @property
    def raw(self) -> bool:
        """It learned from features as the encoder made them."""
        return True

    def latent(self, tile: FeatureTile) -> Latent:
        """Predict the core of a tile: the genes, and the variance of the members.

        The published program predicts glass too; here it has no features, and stays NaN.

        Raises
        ------
        InferenceError
            If the device fails.
        """
        rows, columns = tile.core
        tissue = tile.tissue[rows, columns]
        mean, variance = (
            np.full((*tissue.shape, self.decoder.channels), np.nan, np.float32) for _ in range(2)
        )
        if tissue.any():
            mean[tissue], variance[tissue] = self._combined(tile.values[rows, columns][tissue])
        return Latent(mean, variance)

    def _combined(
        self, inputs: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Combine the members' counts of superpixels, (n, dim), slice by slice."""
        mean, variance = np.empty((2, len(inputs), self.decoder.channels), np.float32)
        # Fixed slices: matrix products of another size may differ in the last bit.
        at_once = max(_SLICE_BYTES // (4 * len(self.members) * self.decoder.channels), 1)
        combine = np.mean if self.recipe.combine == "mean" else np.median
        for low in range(0, len(inputs), at_once):
            some = slice(low, low + at_once)
            each = self.counts(inputs[some])
            mean[some] = combine(each, axis=0)
            # In the decoder's steps, so that half precision holds it.
            each /= self.decoder.spread_scale
            variance[some] = each.var(axis=0, ddof=min(1, len(self.members) - 1))
        # Both are stored in half precision, which would make more than this infinite.
        return np.minimum(mean, _LARGEST), np.minimum(variance, _LARGEST)

    def counts(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return each member's counts per superpixel, (members, n, genes), of raw inputs."""
        each = np.empty((len(self.members), len(inputs), self.decoder.channels), np.float32)
        with torch.inference_mode(), inference_errors("Prediction"):
            seen = torch.from_numpy(inputs).to(self.members[0].low.device)
            for number, member in enumerate(self.members):
                outputs = member.network(seen)
                share = (outputs * member.span + member.low) / self.covered
                each[number] = share.cpu().numpy()
        return each

    def parts(self) -> tuple[Tensors, dict[str, Any]]:
        """Return networks and settings, as they are saved."""
        tensors: Tensors = {}
        for number, member in enumerate(self.members):
            tensors_of_member = {
                "low": member.low,
                "span": member.span,
                **member.network.state_dict(),
            }
            for name, values in tensors_of_member.items():
                tensors[f"{number}.{name}"] = values.detach().cpu().numpy()
        config = {
            "method": "pixel2gene",
            "preset": self.recipe.preset,
            "covered": self.covered,
            "recipe": asdict(self.recipe),
        }
        return tensors, config

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Pixel2GeneReferenceModel:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If files are missing or damaged.
        """

        def make(tensors: Tensors, config: dict[str, Any]) -> Pixel2GeneReferenceModel:
            recipe = Pixel2GeneReferenceRecipe(
                **{**config["recipe"], "hidden": tuple(config["recipe"]["hidden"])},
            )
            genes = len(config["genes"])
            members = tuple(
                _member(tensors, f"{number}.", recipe, genes, device)
                for number in range(recipe.members)
            )
            return cls(
                **shared_parts(tensors, config),
                members=members,
                covered=config["covered"],
                recipe=recipe,
            )

        return load_model(folder, make)


def _member(
    tensors: Tensors,
    prefix: str,
    recipe: Pixel2GeneReferenceRecipe,
    genes: int,
    device: torch.device,
) -> Pixel2GeneReferenceMember:
    tensors_of_member = {
        name.removeprefix(prefix): torch.from_numpy(values).to(device)
        for name, values in tensors.items()
        if name.startswith(prefix)
    }
    low, span = tensors_of_member.pop("low"), tensors_of_member.pop("span")
    inputs = tensors_of_member["layers.0.weight"].shape[1]
    network = Pixel2GeneReferenceNet(inputs, genes, recipe.hidden, recipe.slope, recipe.floor)
    network.load_state_dict(tensors_of_member)
    return Pixel2GeneReferenceMember(network.to(device).eval(), low, span)
