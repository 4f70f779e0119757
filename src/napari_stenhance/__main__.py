"""`python -m napari_stenhance` is `napari-stenhance`."""

from napari_stenhance.cli import main

main()
