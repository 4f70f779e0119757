"""Run benchmarks: `python benchmarks/run.py [NAME …]`, of `ALL`; by default all.

`evidence` takes what follows it: `python benchmarks/run.py evidence image --seeds 0`.
"""

from __future__ import annotations

import importlib
import sys

ALL = (
    "decode",
    "checksums",
    "stain",
    "engine",
    "viewer",
    "cells",
    "heartbeat",
    "slides",
    "memory",
    "bins",
    "doctor",
    "serial",
    "evidence",
    "depth",
    "accuracy",
    "belief",
    "familiar",
    "encoders",
    "crops",
    "domains",
    "domains_memory",
    "sinca",
    "sinca_leak",
    "imputation",
    "imputation_truth",
    "imputation_memory",
)


def main() -> None:
    if sys.argv[1:2] == ["evidence"]:
        importlib.import_module("evidence").main(sys.argv[2:])
        return
    for name in sys.argv[1:] or ALL:
        module = importlib.import_module(name)
        print(f"\n## {(module.__doc__ or '').strip()}\n", flush=True)
        module.main()


if __name__ == "__main__":
    main()
