"""`napari-stenhance enhance`."""

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance

VERB = Verb(EnhanceOptions, enhance)
