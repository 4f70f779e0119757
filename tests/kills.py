"""Kill every verb that writes, run it again, and compare every byte: a program, run by hand.

    python tests/kills.py --kills 100 --seed 0

Each verb runs once without a kill. Then, again and again in a folder and a cache of its own, it is
killed (SIGKILL) one to three times, each at a random moment of the time that it takes, and run
again to its end. After that every file of results, of the folder that they lie in and of the cache
must have the bytes of the run that nobody killed (all but files/log.jsonl, which holds times), and
no other may be there.

Processes are forked from this one, which has imported everything: starting Python would take longer
than most verbs do. The kill is the system's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

GENES = "ERBB2,COL1A1,CD3E,MS4A1"
_QUICK = "--epochs 2 --device cpu"
_RESULT = "out/r.stenhance.zarr"
# Of what is killed, {base} is the folder of inputs; results that are added to are copies.
VERBS = {
    "enhance": f"enhance {{base}}/phantom --out {_RESULT} {_QUICK} --genes {GENES} --write ERBB2 "
    "--region {base}/region.geojson",
    "predict": f"predict {{base}}/enhanced --on {{base}}/phantom --out {_RESULT} --device cpu "
    "--write CD3E",
    "impute": f"impute {{base}}/phantom {{base}}/phantom/reference.h5ad --out {_RESULT} {_QUICK} "
    "--write ERBB2",
    "domains": f"domains {{base}}/phantom --out {_RESULT} --n-domains 3 --runs 2 {_QUICK}",
    "edit-domains": "edit-domains out/domains --rename 1=one --merge 3=2",
    "write": "write out/enhanced --genes CD3E,MS4A1",
    "export spots": "export {base}/enhanced --out out/t.h5ad --at-spots {base}/phantom",
    "export superpixels": f"export {{base}}/enhanced --out out/t.h5ad --genes {GENES}",
    "export table": "export {base}/domains --out out/t.h5ad --table spots",
    "convert": "convert {base}/phantom --out out/prefix",
    "downsample": "downsample {base}/phantom --out out/t.h5ad",
    "phantom": "phantom out/phantom --size-mm 1 --seed 3",
}
# How many of a hundred kills each verb gets.
SHARES = {
    "enhance": 12,
    "predict": 10,
    "impute": 10,
    "domains": 10,
    "edit-domains": 12,
    "write": 12,
    "export spots": 5,
    "export superpixels": 5,
    "export table": 4,
    "convert": 7,
    "downsample": 7,
    "phantom": 6,
}
_OF_BASE = {
    "phantom": "phantom phantom --size-mm 1 --seed 0",
    "enhanced": f"enhance phantom --out enhanced {_QUICK} --genes {GENES}",
    "domains": f"domains phantom --out domains --n-domains 4 --runs 2 {_QUICK}",
}
_REGION = [[[100, 100], [800, 100], [800, 900], [100, 900], [100, 100]]]


@dataclass
class Count:
    """What came of the kills of one verb."""

    killed: int = 0
    differ: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def run_forked(arguments: str, folder: Path, *, kill_after: float | None = None) -> int | None:
    """Run a command in a fork of this process; None if it was killed, else its exit code."""
    pid = os.fork()
    if pid == 0:
        be_the_command(arguments.split(), folder)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def be_the_command(arguments: list[str], folder: Path) -> None:
    code = 1
    try:
        from napari_stenhance.cli import app

        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        os.environ["STENHANCE_CACHE"] = str(folder / "cache")
        with (folder.parent / f"{folder.name}.txt").open("a") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        app(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def files_of(folder: Path) -> dict[str, bytes]:
    """Read all that lies in a folder, but times, and the system's locks, which are empty."""
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and f.name != "log.jsonl" and f.parent != folder / "cache" / "locks"
    } | {str(f): b"" for f in (folder / "cache" / "locks").glob("*.json")}


def make_base(base: Path) -> None:
    """Make what the verbs start from."""
    base.mkdir(parents=True)
    for arguments in _OF_BASE.values():
        code = run_forked(arguments, base)
        assert code == 0, (base.parent / f"{base.name}.txt").read_text()
    polygon = {"type": "Polygon", "coordinates": _REGION}
    feature = {"type": "Feature", "properties": {}, "geometry": polygon}
    collection = {"type": "FeatureCollection", "features": [feature]}
    (base / "region.geojson").write_text(json.dumps(collection), "utf-8")


def start(folder: Path, base: Path, command: str) -> None:
    """Make the folder of one trial, with copies of the results that the verb adds to."""
    (folder / "out").mkdir(parents=True)
    for name in ("enhanced", "domains"):
        if f"out/{name}" in command:
            shutil.copytree(base / name, folder / "out" / name)


def campaign(place: Path, kills: dict[str, int], seed: int) -> Iterator[tuple[str, Count]]:
    """Kill each verb so often, and tell what came of it."""
    draw = random.Random(seed)
    base = place / "base"
    make_base(base)
    for verb, number in kills.items():
        command = VERBS[verb].format(base=base)
        whole = place / f"whole {verb}"
        start(whole, base, command)
        began = time.monotonic()
        code = run_forked(command, whole)
        seconds = time.monotonic() - began
        assert code == 0, (place / f"{whole.name}.txt").read_text()
        expected, count = files_of(whole), Count()
        while count.killed < number:
            trial, moments = place / "trial", []
            start(trial, base, command)
            for _ in range(min(draw.randint(1, 3), number - count.killed)):
                after = draw.uniform(0, seconds)
                if run_forked(command, trial, kill_after=after) is not None:
                    break
                moments.append(f"{after:.3f}")
                count.killed += 1
            if moments:
                when = f"after {', '.join(moments)} of {seconds:.3f} s"
                _judge(count, when, trial, command, expected)
            shutil.rmtree(trial)
            (place / "trial.txt").unlink()
        yield verb, count


def _judge(count: Count, when: str, trial: Path, command: str, expected: dict[str, bytes]) -> None:
    code = run_forked(command, trial)
    said = (trial.parent / "trial.txt").read_text()
    # A kill may come when all is done: then nothing is overwritten.
    if code != 0 and "something lies here already" not in said:
        count.failed.append(f"{when}: exit code {code}: {said}")
        return
    found = files_of(trial)
    strays = sorted(found.keys() - expected.keys())
    differ = sorted(f for f in expected if found.get(f) != expected[f])
    count.strays += [f"{when}: {name}" for name in strays]
    count.differ += [f"{when}: {name}" for name in differ]


def warm_up() -> None:
    """Import what the verbs do, so that forks have it."""
    import h5py
    import numba
    import torch

    import napari_stenhance.cli
    import napari_stenhance.tasks.domain_inputs
    import napari_stenhance.tasks.evaluate
    import napari_stenhance.tasks.inference
    from napari_stenhance import phantom  # noqa: F401

    torch.set_num_threads(1)
    assert all((h5py, numba, napari_stenhance.cli))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="*", default=list(VERBS))
    options = parser.parse_args()
    shares = {verb: SHARES[verb] for verb in options.verbs}
    total = sum(shares.values())
    kills = {verb: max(1, round(options.kills * n / total)) for verb, n in shares.items()}
    warm_up()
    bad, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        for verb, count in campaign(Path(place), kills, options.seed):
            print(
                f"{verb:20} {count.killed:4} kills  {len(count.differ)} differ  "
                f"{len(count.strays)} strays  {len(count.failed)} failed  "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
            for line in (*count.differ, *count.strays, *count.failed):
                print("   ", line)
                bad += 1
    print(f"{sum(kills.values())} kills, {bad} faults, {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
