"""`napari-stenhance export`."""

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.export import ExportOptions, export

VERB = Verb(ExportOptions, export)
