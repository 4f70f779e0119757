"""A few kills of every verb; `python tests/kills.py` does a hundred."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes that it kills")
def test_killed_verbs_leave_nothing_and_differ_in_nothing() -> None:
    program = Path(__file__).with_name("kills.py")
    ran = subprocess.run(
        [sys.executable, str(program), "--kills", "12"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " 0 faults" in ran.stdout
