"""What has to be done to make the runs of a result again, step by step, and what cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_stenhance.errors import InputError
from napari_stenhance.methods.training_section import input_identity
from napari_stenhance.results.result import SUFFIX, ResultFolder
from napari_stenhance.results.run import Run
from napari_stenhance.results.runs import every_run
from napari_stenhance.running.job import Job
from napari_stenhance.section.registration import Registration
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.section.source import SectionSource
from napari_stenhance.section.tissue_mask import mask_name
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.options import OPENING, Option, options_of
from napari_stenhance.tasks.recorded import RecordedCommand, recorded_commands

VERBS = {
    "enhance": "EnhanceOptions",
    "predict": "PredictOptions",
    "impute": "ImputeOptions",
    "domains": "DomainsOptions",
    "write": "WriteOptions",
    "edit_domains": "EditDomainsOptions",
}
"""What leaves its command in a result, with the class of its options, in the module of its name."""
_LEARNED = {"enhance": "learned_from", "impute": "spots", "domains": "found_in"}
"""Where a run's identity says what the sections were."""
_SECTIONS = ("sections", "spots")
_HASHES = {"spots_sha256": "spots", "slide_sha256": "slide", "mpp": "scale"}


@dataclass(frozen=True)
class SectionAgain:
    """A section that was given open, and how it is opened again.

    Attributes
    ----------
    name : str
        What it was called; empty where opening it gives that name.
    source : SectionSource
    tissue : Path, str or None
        Its tissue, where that was given; a text in angle brackets if that is nowhere.
    """

    name: str
    source: SectionSource
    tissue: Path | str | None = None

    @property
    def opening(self) -> dict[str, Any]:
        """What is said beside its path when it is opened, apart from the usual."""
        usual = SectionSource(self.source.path).arguments()
        return {k: v for k, v in self.source.arguments().items() if v != usual[k]}


@dataclass
class Step:
    """One task, with what it is asked for.

    Attributes
    ----------
    verb : str
    values : dict
        Of each option that is given, its value; of several, a list. Paths are `Path`, sections
        that were open `SectionAgain`; what is not there is a text in angle brackets.
    options : dict of str to Option
        Those of the task.
    said : list of str
        What is worth saying of it.
    lacking : list of str
        Why it cannot be done again; empty if it can.
    """

    verb: str
    options: dict[str, Option]
    values: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Repeating:
    """How to make the runs of a result again.

    Attributes
    ----------
    result : ResultFolder
    out : Path
        Where it is made.
    steps : tuple of Step
        In the order in which they were done.
    lacking : tuple of str
        Which runs no step makes, and why.
    """

    result: ResultFolder
    out: Path
    steps: tuple[Step, ...]
    lacking: tuple[str, ...]

    @classmethod
    def from_result(cls, result: ResultFolder, folder: Path, cache: Cache, job: Job) -> Repeating:
        """Read what was done, and look whether what it was done with is what it was.

        Parameters
        ----------
        result : ResultFolder
        folder : Path
            Where results are made again, each under its name.
        cache : Cache
        job : Job
        """
        commands = [c for c in recorded_commands(result) if c.verb in VERBS]
        runs = {run.name: run for run in every_run(result)}
        name = commands[-1].name if commands else result.name
        out, steps, damaged = folder / f"{name}{SUFFIX}", [], []
        with job.stage("Reading what the runs were made of", len(commands)) as stage:
            for command in commands:
                made = [runs[name] for name in command.runs if name in runs]
                # The log is text, which proves nothing of itself.
                try:
                    steps.append(_Reading(result, out, command, made, cache, job).step())
                except (TypeError, ValueError, KeyError, AttributeError, OSError):
                    damaged.append(f"{command.verb}: what was asked for is damaged in the log.")
                stage.advance()
        told = {name for command in commands for name in command.runs}
        lacking = [_untold(run) for run in runs.values() if run.name not in told]
        return cls(result, out, tuple(steps), (*damaged, *lacking))


def _untold(run: Run) -> str:
    """Say why nobody knows what made a run."""
    before = run.identity.get("edited_from")
    if before:
        return (
            f"{run.name}: its domains were edited by hand, from those of {before}; no command does "
            "that again."
        )
    return (
        f"{run.name}: what was asked for was not yet recorded when it was made; the same command, "
        "given once more, finds the run complete, and records it."
    )


@dataclass
class _Reading:
    """What turns one command that was recorded into a step."""

    result: ResultFolder
    out: Path
    command: RecordedCommand
    runs: list[Run]
    cache: Cache
    job: Job

    def step(self) -> Step:
        verb, given = self.command.verb, self.command.options
        module = import_module(f"napari_stenhance.tasks.{verb}")
        options = {o.name: o for o in options_of(getattr(module, VERBS[verb]))}
        step = Step(verb, options)
        unknown = sorted(set(given) - set(options))
        if unknown:
            step.lacking.append(f"This version does not know the option {', '.join(unknown)}.")
        for name, option in options.items():
            if name == "out":
                if self._writes_elsewhere():
                    step.values[name] = self.out.parent if self._several() else self.out
            elif name in given:
                value = given[name]
                several = option.several and isinstance(value, list)
                step.values[name] = (
                    [self._value(step, name, one) for one in value]
                    if several
                    else self._value(step, name, value)
                )
        self._check_inputs(step)
        for run in self.runs:
            step.said.append(_provenance(run))
            if not run.complete:
                step.said.append(f"{run.name} is not complete in {self.result.path.name}.")
        return step

    def _writes_elsewhere(self) -> bool:
        """Tell whether the result is named: domains of superpixels go into that of the field."""
        sections = self.command.options.get("sections", [])
        of_results = any(isinstance(one, dict) and "result" in one for one in sections)
        return not (self.command.verb == "domains" and of_results)

    def _several(self) -> bool:
        given = self.command.options
        onto = given.get("predict") or given.get("on") or given.get("sections") or ()
        return len(onto) > 1

    def _value(self, step: Step, name: str, value: Any) -> Any:
        """Turn what was recorded of one value into what is written down."""
        if not isinstance(value, dict):
            if self._is_path(step.options[name], value):
                return self._file(step, Path(value))
            return value
        if "result" in value:
            return self._of_result(step, str(value["result"]))
        if "section" in value:
            return self._section(step, value)
        if value.get("kept") == "region":
            return self._kept_region(step)
        if value.get("kept") == "tissue":
            shas = {run.identity.get("tissue_sha256") for run in self.runs} - {None}
            return self._kept_tissue(step, next(iter(shas), None))
        if "registration" in value:
            return Registration.from_json(value["registration"])
        kind = value.get("made_in_python", "?")
        step.lacking.append(f"{name}: it was made in Python ({kind}), and lies in no file.")
        return f"<{name}>"

    @staticmethod
    def _is_path(option: Option, value: Any) -> bool:
        # A picture that an AnnData keeps, and how tissue is found, are words.
        return option.kind is Path and isinstance(value, str) and Path(value).is_absolute()

    def _file(self, step: Step, path: Path) -> Path:
        # Prefix files have a path that is none of theirs: opening them says whether they are there.
        if not path.exists() and not (
            path.parent.is_dir() and any(path.parent.glob(path.name + "*"))
        ):
            step.lacking.append(f"{path}: nothing is there any more.")
        return path

    def _of_result(self, step: Step, path: str) -> Path:
        if path == self.command.result:
            return self.out
        if self.command.verb != "domains":
            return self._file(step, Path(path))
        other = self.out.parent / Path(path).name
        step.said.append(f"{other} is made first, by the script of {path}.")
        return other

    def _section(self, step: Step, said: Mapping[str, Any]) -> Any:
        name = str(said["section"])
        if said["source"] is None:
            step.lacking.append(f"{name}: this section was made in Python, and lies in no file.")
            return f"<section {name}>"
        source = SectionSource.from_json(said["source"])
        sha = said.get("tissue_sha256")
        tissue = None if sha is None else self._kept_tissue(step, sha)
        return SectionAgain(name, source, tissue)

    def _kept_region(self, step: Step) -> Path | str:
        for run in self.runs:
            file = self.result.path.absolute() / "files" / "regions" / f"{run.name}.geojson"
            if file.is_file():
                return file
        step.lacking.append("The region that was drawn is no longer in the result.")
        return "<region>"

    def _kept_tissue(self, step: Step, sha256: Any) -> Path | str:
        for run in self.runs:
            if sha256 is not None and run.identity.get("tissue_sha256") == sha256:
                folder = self.result.path.absolute() / self.result.tissue_names(run.name)[-1]
                if folder.is_dir():
                    return folder
        name = "a mask" if sha256 is None else mask_name(str(sha256))
        step.lacking.append(f"The tissue that was given ({name}) is in no file, nor in the result.")
        return "<tissue>"

    # What became of the inputs

    def _check_inputs(self, step: Step) -> None:
        """Open what was learned from, and compare it with what the run says that it was."""
        if self.command.verb == "predict":
            self._check_slides(step)
            return
        key = _LEARNED.get(self.command.verb)
        field_ = next((name for name in _SECTIONS if name in step.values), None)
        if key is None or field_ is None or not self.runs:
            return
        expected = self.runs[0].identity.get(key)
        if self.command.verb == "impute":
            # Genes that were enhanced afterwards learned from the table of the imputation.
            imputed = [run for run in self.runs if run.kind == "imputed"]
            expected = [imputed[0].identity.get(key)] if imputed else None
        given = step.values[field_]
        sections = given if isinstance(given, list) else [given]
        if not isinstance(expected, list) or len(expected) != len(sections):
            return
        named = [
            self._checked(step, one, dict(then), step.values)
            for one, then in zip(sections, expected, strict=True)
        ]
        step.values[field_] = named if isinstance(given, list) else named[0]

    def _check_slides(self, step: Step) -> None:
        """Open what was predicted on; one slide is compared with that of the result."""
        given = step.values.get("on", [])
        sections = given if isinstance(given, list) else [given]
        of = self.result.attributes.get("slide") if len(sections) == 1 else None
        then = {} if of is None else {"slide_sha256": of.get("sha256"), "mpp": of.get("mpp")}
        named = [self._checked(step, one, then, step.values, tuple(then)) for one in sections]
        if sections:
            step.values["on"] = named if isinstance(given, list) else named[0]

    def _checked(
        self,
        step: Step,
        given: Any,
        then: dict[str, Any],
        values: Mapping[str, Any],
        compared: Collection[str] = tuple(_HASHES),
    ) -> Any:
        """Say what of a section is not as it was; return it, with a name only if it needs one."""
        if isinstance(given, SectionAgain):
            how = given.source.arguments()
        elif isinstance(given, Path) and not ResultFolder.is_result(given) and "field" not in then:
            how = {"path": given}
            how |= {name: values[name] for name in (*OPENING, "image") if name in values}
        else:
            return given
        try:
            section = open_section(**how, cache=self.cache, job=self.job)
            now = _now(section)
        except (InputError, OSError) as error:
            step.lacking.append(f"It cannot be opened: {error}")
            return given
        changed = [
            word
            for field_, word in _HASHES.items()
            if field_ in compared and field_ in now and now[field_] != then.get(field_)
        ]
        if changed:
            what = " and ".join(changed)
            verb = "is" if changed[0] != "spots" and len(changed) == 1 else "are"
            step.lacking.append(f"{how['path']}: {what} {verb} not what the run was made of.")
        if isinstance(given, SectionAgain) and section.name == given.name:
            return SectionAgain("", given.source, given.tissue)
        return given


def _begins_names(path: Path) -> bool:
    """Tell whether a path is what the names of files begin with, as of prefix files."""
    return path.parent.is_dir() and any(
        one.name.startswith(path.name) for one in path.parent.iterdir()
    )


def _now(section: Section) -> dict[str, Any]:
    """Return what a section is now, as far as it is known without reading a whole slide."""
    slide = section.slide
    if slide is None:
        return input_identity(section)
    now = {"mpp": section.mpp, "spots_sha256": section.counts_sha256}
    known = slide.state.known_sha256
    return now if known is None else {**now, "slide_sha256": known}


def _provenance(run: Run) -> str:
    """Say what decided the bytes of a run, beside what was asked for."""
    return f"{run.name}: seed {run.attributes.get('seed')}, on {run.attributes.get('device')}"


def said_versions(run: Run) -> str:
    """Say with which versions a run was made."""
    versions = run.attributes.get("versions") or {}
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def said_inputs(run: Run) -> Iterator[str]:
    """Name the sections that a run was made of, with their hashes."""
    identity = run.identity
    ones = [*identity.get("learned_from", ()), *identity.get("found_in", ())]
    ones += [identity[key] for key in ("spots", "cells") if key in identity]
    for one in ones:
        hashes = {k: v for k, v in one.items() if k.endswith("sha256") and v}
        listed = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in hashes.items())
        yield f"{one.get('name')}: {listed}"
