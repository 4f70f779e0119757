"""`napari-stenhance predict`."""

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.predict import PredictOptions, predict

VERB = Verb(PredictOptions, predict)
