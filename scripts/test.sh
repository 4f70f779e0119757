#!/bin/sh
# Sets up what is missing, then runs the tests, the linters and the type checker:
#   sh scripts/test.sh [tox arguments]      for example: sh scripts/test.sh -e py -- -k phantom
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
exec .venv/bin/python -m tox "$@"
