"""How a method sees a slide: superpixels, or crops around positions, through an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_stenhance.features.crops import CropMap, pooled_tissue
from napari_stenhance.features.extract import FeatureMap, TissueKind, extract, find_tissue
from napari_stenhance.features.opening import open_crops
from napari_stenhance.features.registry import encoder_identity, make_encoder
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sight:
    """The one way from a slide to the features that a method sees.

    Attributes
    ----------
    encoder : str
    tissue : {"density", "histosweep"}
        How tissue is told from glass.
    device : torch.device
    cache : Cache
    crops_um : tuple of float
        Sides of the crops; none where the method sees superpixels.
    pitch_um : float or None
        Of the grid that crops are laid around; None for superpixels, of which the encoder says it.
    """

    encoder: str
    tissue: TissueKind
    device: torch.device
    cache: Cache
    crops_um: tuple[float, ...] = ()
    pitch_um: float | None = None

    @property
    def _network(self) -> bool:
        """Whether crops go through a network; else superpixels are encoded, and averaged."""
        return bool(self.crops_um) and self.encoder != "stain"

    def grid(self, slide: Slide) -> Grid:
        """Lay the grid of features, and of what is predicted from them, over a slide."""
        return Grid.over(slide, self.pitch_um or make_encoder(self.encoder, slide).pitch_um)

    def doubts(self, slide: Slide) -> tuple[str, ...]:
        """Say what makes features of superpixels less trustworthy; networks say it themselves."""
        return () if self._network else make_encoder(self.encoder, slide).doubts()

    def fingerprint(self, slide: Slide) -> str:
        """Identify weights and settings of the encoder."""
        if self._network:
            return encoder_identity(self.encoder)
        return make_encoder(self.encoder, slide).fingerprint()

    def find_tissue(self, slide: Slide, job: Job) -> NDArray[np.bool_]:
        """Tell which superpixels of the grid are tissue, before any feature is extracted."""
        # The mask is the same, whatever encodes what lies on it.
        encoder = make_encoder("stain" if self.crops_um else self.encoder, slide)
        mask = find_tissue(slide, encoder, job, cache=self.cache, tissue=self.tissue)
        if not self.crops_um:
            return mask
        return pooled_tissue(mask, Grid.over(slide, encoder.pitch_um), self.grid(slide))

    def features(
        self, slide: Slide, job: Job, needed: NDArray[np.bool_] | None = None
    ) -> FeatureMap | CropMap:
        """Extract the features of some superpixels of the grid, by default of all on tissue."""
        if not self.crops_um:
            encoder = make_encoder(self.encoder, slide)
            return extract(slide, encoder, job, cache=self.cache, needed=needed, tissue=self.tissue)
        return open_crops(
            slide,
            self.encoder,
            self.grid(slide),
            self.crops_um,
            job,
            device=self.device,
            cache=self.cache,
            needed=needed,
            tissue=self.tissue,
        )
