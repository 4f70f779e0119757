"""`napari-stenhance info`."""

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.info import InfoOptions, info

VERB = Verb(InfoOptions, info)
