"""Install every wheel and sdist of a folder into a fresh environment, and run the demo with it.

python scripts/try_dist.py FOLDER [options of `uv venv`]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    folder, options = Path(sys.argv[1]).resolve(), sys.argv[2:]
    made = sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])
    if len(made) != 2:
        sys.exit(
            f"{folder}: there must be one wheel and one sdist, and there are {len(made)} files"
        )
    # Nothing of the checkout may be found, only what was installed.
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for file in made:
        with tempfile.TemporaryDirectory() as scratch:
            environment = Path(scratch) / "venv"
            _run("uv", "venv", *options, environment, env=clean)
            python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
            bare = ["--no-deps"] if "--system-site-packages" in options else []
            _run("uv", "pip", "install", "--quiet", *bare, "--python", python, file, env=clean)
            where = "import napari_stenhance as st; print(st.__file__, st.enhance.__name__)"
            _run(python, "-c", where, cwd=scratch, env=clean)
            command = python.with_name("napari-stenhance")
            _run(command, "demo", Path(scratch) / "demo", "--size-mm", "1", cwd=scratch, env=clean)
            print(f"{file.name}: installed, and ran the demo", flush=True)


def _run(*command: object, **options: object) -> None:
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, **options)  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
