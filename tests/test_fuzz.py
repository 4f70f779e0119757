"""Damaged files end in a sentence or in right values: 300 of each kind that is read."""

from __future__ import annotations

from pathlib import Path

import pytest

import fuzz


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bases")


@pytest.mark.parametrize(("name", "cases"), [(t.name, t.cases) for t in fuzz.targets().values()])
def test_damage_ends_in_a_sentence_or_in_right_values(name: str, cases: int, bases: Path) -> None:
    outcomes = fuzz.run(name, range(cases), bases)
    assert len(outcomes) == cases
    faults = [outcome for outcome in outcomes if outcome.is_fault]
    assert not faults, "\n".join([f"{len(faults)} faults", *map(str, faults[:3])])
    # Else the damages do not reach what is read, or nothing undamaged is read at all.
    kinds = {outcome.kind for outcome in outcomes}
    assert "refused" in kinds
    assert kinds & {"right", "legal"}


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("crashes", "crash", "Segmentation fault"),
        ("hangs", "hang", "s"),
        ("swells", "memory", "GB"),
        ("raises", "error", "KeyError"),
        ("differs", "wrong", "2"),
        ("asserts", "wrong", "AssertionError"),
        ("refuses", "refused", "no such thing"),
    ],
)
def test_every_kind_of_end_is_told_apart(
    name: str, kind: str, said: str, bases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.2 if name == "hangs" else 60.0)
    monkeypatch.setattr(fuzz, "MEMORY", 1.2e9)
    outcomes = fuzz.run(name, range(2), bases, ("fuzz_ends",))
    assert [(outcome.seed, outcome.kind) for outcome in outcomes] == [(0, kind), (1, kind)]
    assert all(said in outcome.said for outcome in outcomes)
    # What was done to the file is known even where the process ended.
    assert all("number.json: " in outcome.done for outcome in outcomes)


def test_a_case_is_the_same_again(bases: Path) -> None:
    every = fuzz.run("10x-h5", range(5, 15), bases)
    assert fuzz.run("10x-h5", [9], bases) == every[4:5]
