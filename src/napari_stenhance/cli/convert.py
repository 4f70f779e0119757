"""`napari-stenhance convert`."""

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.convert import ConvertOptions, convert

VERB = Verb(ConvertOptions, convert)
