"""`napari-stenhance write`."""

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.write import WriteOptions, write

VERB = Verb(WriteOptions, write)
