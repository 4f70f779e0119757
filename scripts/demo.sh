#!/bin/sh
# Sets up what is missing, installs the package into .venv, then runs the main job from end to end on a
# synthetic section and prints how close it came to the known truth:
#   sh scripts/demo.sh [options of napari-stenhance demo]      for example: sh scripts/demo.sh --view
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
setup_say 'installing the package and what it needs; the first time, this takes minutes'
.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --editable '.[pyqt6]'
.venv/bin/napari-stenhance demo "$@"
