"""Damage what is read, and see that it ends in one of our sentences or in right values.

    python tests/fuzz.py all --cases 5000       a campaign; counts for each target
    python tests/fuzz.py h5ad --seed 17         one case again, with what it raised

Not allowed are any other exception, a crash, more than `SECONDS` of the processor (or six times as
long without it: other programs may be busy), more than `MEMORY`. Targets are
registered in `MODULES`: each has a tuple TARGETS of `fuzz_damage.Target`. Cases run one after
another in processes that are forked from one server, where all is imported already; a crash ends
one of those, not the campaign.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import importlib
import os
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from forked import context
from fuzz_damage import Target, damaged
from fuzz_hdf5 import Forking
from napari_stenhance.section.tables import hdf5

MODULES = ("fuzz_tables", "fuzz_images", "fuzz_results")
SECONDS = 10.0
_WAITING = 6
MEMORY = 2 * 10**9
_SETUP_SECONDS = 300.0
_ALLOWED = ("refused", "right", "legal")
KINDS = (*_ALLOWED, "wrong", "error", "crash", "hang", "memory")


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes
    ----------
    target : str
    seed : int
    kind : str
        "refused" by a StenhanceError; "right": the values of the undamaged input; "legal": others
        that a file may hold; or a fault: "wrong" values, "error" for any other exception, "crash",
        "hang", "memory".
    done : str
        The damage.
    said : str
        The sentence, or what was raised.
    """

    target: str
    seed: int
    kind: str
    done: str
    said: str

    @property
    def is_fault(self) -> bool:
        return self.kind not in _ALLOWED

    def __str__(self) -> str:
        return f"{self.short()}\n    {self.said}"

    def short(self) -> str:
        last = self.said.strip().splitlines()[-1:]
        again = f"python tests/fuzz.py {self.target} --seed {self.seed}"
        return f"{self.kind} ({again}): {self.done}: {''.join(last)}"


def targets(modules: Sequence[str] = MODULES) -> dict[str, Target]:
    """Collect what the modules register."""
    every = [t for name in modules for t in importlib.import_module(name).TARGETS]
    named = {target.name: target for target in every}
    assert len(named) == len(every), "two targets have the same name"
    return named


# In a worker


def _damage(target: Target, seed: int, files: list[Path]) -> tuple[Path, str]:
    """Damage one of the files, and say how."""
    rng = np.random.default_rng([zlib.crc32(target.name.encode()), seed])
    path = files[int(rng.integers(len(files)))]
    changed, done = damaged(path.read_bytes(), rng)
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    return path, f"{path.name}: {done}"


def _read(target: Target, folder: Path, undamaged: Any) -> tuple[str, str]:
    """Return the kind of outcome, and what there is to say about it."""
    from napari_stenhance.errors import StenhanceError

    try:
        value = target.read(folder)
        if _equal(value, undamaged):
            return "right", ""
        return "legal" if target.legal(value, undamaged) else "wrong", repr(value)[:300]
    except StenhanceError as error:
        said = str(error).replace(str(folder), "…")
        return "refused" if "\n" not in said.strip() else "wrong", said
    except AssertionError:
        return "wrong", traceback.format_exc(limit=-3)
    except BaseException:  # noqa: BLE001
        return "error", traceback.format_exc(limit=-6)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        one, other = np.asarray(one), np.asarray(other)
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == (other.tobytes())
        )
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(v, other[k]) for k, v in one.items())
    return bool(one == other)


def _fill(folder: Path, target: Target, bases: Path) -> None:
    """Give a target the folder that it begins with."""
    if target.base is None:
        folder.mkdir()
        return
    whole = bases / target.base.__name__
    if not whole.is_dir():
        aside = Path(tempfile.mkdtemp(dir=bases))
        target.base(aside)
        # Whoever was faster has made the same.
        with contextlib.suppress(OSError):
            aside.rename(whole)
    shutil.copytree(whole, folder)


def _serve(
    pipe: Connection,
    name: str,
    seeds: Sequence[int],
    base: Path,
    bases: Path,
    modules: Sequence[str],
) -> None:
    """Run cases, one message before and one after each."""
    os.environ["STENHANCE_CACHE"] = str(base / "cache")
    with (base / "noise").open("w+") as noise:
        # What libraries print is no outcome; where a crash happened is wanted.
        os.dup2(noise.fileno(), 1)
        os.dup2(noise.fileno(), 2)
        faulthandler.enable(noise)
        try:
            if hasattr(os, "fork"):
                hdf5.subprocess = Forking(0.5)  # type: ignore[attr-defined]
            target, folder = targets(modules)[name], base / "input"
            _fill(folder, target, bases)
            files = target.make(folder)
            whole = {path: path.read_bytes() for path in files}
            undamaged = target.read(folder)
        except Exception:  # noqa: BLE001
            pipe.send(traceback.format_exc())
            return
        # No collection of garbage looks through all that was imported.
        gc.freeze()
        for seed in seeds:
            path, done = _damage(target, seed, files)
            pipe.send((seed, done))
            pipe.send(_read(target, folder, undamaged))
            path.write_bytes(whole[path])
    pipe.send(None)


# In the campaign


def run(
    name: str, seeds: Sequence[int], bases: Path, modules: Sequence[str] = MODULES
) -> list[Outcome]:
    """Run cases of a target; where one ends the process, the next go on in another.

    In the folder `bases` lies what several targets begin with.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < len(seeds):
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            left = seeds[len(outcomes) :]
            outcomes += _until_death(name, left, Path(folder), bases, modules)
    return outcomes


def _until_death(
    name: str, seeds: Sequence[int], base: Path, bases: Path, modules: Sequence[str]
) -> Iterator[Outcome]:
    forks = context()
    ours, theirs = forks.Pipe()
    given = (theirs, name, seeds, base, bases, modules)
    process = forks.Process(target=_serve, args=given, daemon=True)
    process.start()
    theirs.close()
    watched = psutil.Process(process.pid)
    case, since, message = None, (time.monotonic(), 0.0), ""
    try:
        while True:
            kind = said = ""
            try:
                message = ours.recv() if ours.poll(0.02) else ""
            except (EOFError, ConnectionError):
                process.join()
                kind, said = "crash", f"exit code {process.exitcode}; {_noise(base)}"
            else:
                if message is None:
                    return
                if isinstance(message, str) and message:
                    kind, said = "error", message
                elif message and case is None:
                    case, since = message, (time.monotonic(), _busy(watched))
                elif message:
                    yield Outcome(name, case[0], message[0], case[1], message[1])
                    case = None
                    continue
                kind, said = (kind, said) if kind else _limits(watched, since, case)
            if kind and case is None:
                raise RuntimeError(f"{name}: the undamaged input ends in {kind}: {said}")
            if kind:
                yield Outcome(name, case[0], kind, case[1], said)
                return
    finally:
        process.kill()
        process.join()
        ours.close()


def _limits(watched: psutil.Process, since: tuple[float, float], case: object) -> tuple[str, str]:
    """Say what a process exceeds, if anything."""
    late = time.monotonic() - since[0]
    if late > (_SETUP_SECONDS if case is None else SECONDS):
        busy = _busy(watched, *watched.children(recursive=True)) - since[1]
        if case is None or busy > SECONDS or late > _WAITING * SECONDS:
            return "hang", f"{late:.0f} s, {busy:.0f} s of the processor"
    with contextlib.suppress(psutil.NoSuchProcess):
        resident = watched.memory_info().rss
        if resident > MEMORY:
            return "memory", f"{resident / 1e9:.1f} GB"
    return "", ""


def _busy(*processes: psutil.Process) -> float:
    """Return the processor time of processes and of those that they ended, in seconds."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            spent = process.cpu_times()
            total += spent.user + spent.system + spent.children_user + spent.children_system
    return total


def _noise(base: Path) -> str:
    """Return where a process died, as `faulthandler` says, or else the last that it printed."""
    printed = (base / "noise").read_text(errors="replace")
    at = printed.find("Fatal Python error")
    return "\n    ".join(printed[at:].splitlines()[:14] if at >= 0 else printed.splitlines()[-4:])


def campaign(names: Sequence[str], cases: int, first: int, jobs: int, bases: Path) -> list[Outcome]:
    """Run the cases of targets, side by side, and print counts."""
    faults: list[Outcome] = []
    print(f"{'target':24}{'cases':>8}" + "".join(f"{kind:>9}" for kind in KINDS), flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        shares = [range(first + part, first + cases, jobs) for part in range(jobs)]
        for name in names:
            started = time.monotonic()
            parts = pool.map(lambda seeds, name=name: run(name, seeds, bases), shares)
            outcomes = [outcome for part in parts for outcome in part]
            counts = Counter(outcome.kind for outcome in outcomes)
            numbers = "".join(f"{counts[kind]:9}" for kind in KINDS)
            took = (time.monotonic() - started) / max(1, len(outcomes)) * jobs
            print(f"{name:24}{len(outcomes):8}{numbers}   {1e3 * took:.0f} ms each", flush=True)
            faults += [outcome for outcome in outcomes if outcome.is_fault]
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="+", help=f"all, or of: {', '.join(targets())}")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run only this case, and say all about it")
    parser.add_argument("--keep", type=Path, help="with --seed: leave the damaged input there")
    parser.add_argument("--long", action="store_true", help="print tracebacks of faults")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    names = list(targets()) if given.targets == ["all"] else given.targets
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        bases = Path(folder)
        if given.seed is not None:
            for name in names:
                print(*run(name, [given.seed], bases))
                if given.keep is not None:
                    target = targets()[name]
                    _fill(given.keep, target, bases)
                    print("kept:", *_damage(target, given.seed, target.make(given.keep)))
            return 0
        faults = campaign(names, given.cases, given.first, given.jobs, bases)
    kinds: dict[tuple[str, str, str], list[Outcome]] = {}
    for fault in faults:
        last = fault.said.strip().splitlines()[-1] if fault.said.strip() else ""
        kinds.setdefault((fault.target, fault.kind, last[:40]), []).append(fault)
    for alike in sorted(kinds.values(), key=len, reverse=True):
        print(f"{len(alike)} × {alike[0] if given.long else alike[0].short()}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
