"""`napari-stenhance figure`."""

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.figure import figure
from napari_stenhance.tasks.figure_options import FigureOptions

VERB = Verb(FigureOptions, figure)
