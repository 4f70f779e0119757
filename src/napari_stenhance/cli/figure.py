"""`napari-stenhance figure`."""

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.figure import FigureOptions, figure

VERB = Verb(FigureOptions, figure)
