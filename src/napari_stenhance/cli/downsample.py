"""`napari-stenhance downsample`."""

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.downsample import DownsampleOptions, downsample

VERB = Verb(DownsampleOptions, downsample)
