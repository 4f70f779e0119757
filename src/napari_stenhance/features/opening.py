"""Open the features of a slide, whatever encodes them."""

from __future__ import annotations

from napari_stenhance.features.combined import CombinedFeatures
from napari_stenhance.features.crops import PooledCrops
from napari_stenhance.features.encoded import EncodedCrops
from napari_stenhance.features.source import FeatureSettings, FeatureSource
from napari_stenhance.features.superpixels import TileFeatures
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide


def open_features(slide: Slide, settings: FeatureSettings, job: Job) -> FeatureSource:
    """Make the source of features of one slide; nothing is extracted yet."""
    if settings.encoder.parts:
        parts = tuple(open_features(slide, each, job) for each in settings.parts)
        return CombinedFeatures(slide, settings, job, parts)
    if settings.crops is None:
        return TileFeatures(slide, settings, job)
    if settings.encoder.crops is None:
        return PooledCrops(slide, settings, job, settings.crops)
    return EncodedCrops(slide, settings, job, settings.crops)
