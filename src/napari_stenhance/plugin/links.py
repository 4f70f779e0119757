"""What saved layers show, as links to the files that hold it: paths, and what tells them again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.section.source import SectionSource

if TYPE_CHECKING:
    from napari_stenhance.plugin.layer_info import LayerInfo
    from napari_stenhance.results.run import Run
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.section.slide import Slide
    from napari_stenhance.storage.tile_cache import TileCache

RELATIVE = "relative"


@dataclass
class LinksOut:
    """Links that are being written, each section and each run once.

    Attributes
    ----------
    folder : Path
        The save, whose place relative paths start from.
    job : Job or None
        Of a thread that may read slides for their hash; without it, only a known hash is written.
    sections, runs : list of dict
        As JSON.
    """

    folder: Path
    job: Job | None = None
    sections: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    _known: dict[Any, int | None] = field(default_factory=dict)

    def shows(self, info: LayerInfo) -> dict[str, Any]:
        """Say what a layer shows; without `section` and `run` where no file holds that.

        `origin` is where the section lies in the viewer that is saved.
        """
        said: dict[str, Any] = {
            "role": info.role.name,
            "name": info.name,
            "part": info.part,
            "gene": info.gene,
            "origin": [0.0, 0.0] if info.place is None else list(info.place.origin),
        }
        if info.run is not None:
            if info.over is not None:
                # Of pictures, only one can be seen where two lie: that of the whole.
                said["over"] = [str(info.over[0].absolute()), *info.over[1:]]
            number = self._number(info.run.key, self.runs, lambda: self._run(info.run))
            return said if number is None else {**said, "run": number}
        section = info.section
        if section is None:
            return said
        number = self._number(id(section), self.sections, lambda: self._section(section))
        return said if number is None else {**said, "section": number}

    def _number(self, key: Any, listed: list[dict[str, Any]], make: Any) -> int | None:
        if key not in self._known:
            made = make()
            self._known[key] = None if made is None else len(listed)
            listed.extend([] if made is None else [made])
        return self._known[key]

    def _section(self, section: Section) -> dict[str, Any] | None:
        source, slide = section.source, section.slide
        if source is None and slide is not None:
            source = SectionSource(slide.path, None, section.mpp, slide.series, slide.icc)
        if source is None or not source.path.exists():
            return None
        said: dict[str, Any] = {"name": section.name, "scale": section.mpp, **source.to_json()}
        said[RELATIVE] = {
            key: self._relative(path)
            for key, path in (("path", source.path), ("image", source.image))
            if path is not None
        }
        if slide is not None:
            sha256 = slide.state.known_sha256 if self.job is None else slide.state.sha256(self.job)
            said["slide"] = {**_glance_at(slide), "sha256": sha256}
        if section.spots is not None and section.source is not None:
            said["spots"] = spots_key(section)
        return said

    def _run(self, run: Run) -> dict[str, Any]:
        path = run.result.path.absolute()
        return {
            "path": str(path),
            RELATIVE: {"path": self._relative(path)},
            "kind": run.kind,
            "name": run.name,
            "of": _of(run),
            "identity": _identity(run),
        }

    def _relative(self, path: Path) -> str | None:
        try:
            return Path(os.path.relpath(path, self.folder)).as_posix()
        except ValueError:
            # On another drive.
            return None


@dataclass
class LinksIn:
    """Links of a save that is being opened: what they name is opened once, and checked.

    Attributes
    ----------
    folder : Path
        The save.
    sections, runs : list of dict
        As JSON.
    tiles : TileCache or None
        Where fields keep tiles.
    job : Job or None
        Receives progress.
    """

    folder: Path
    sections: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    tiles: TileCache | None = None
    job: Job | None = None
    _sections: dict[int, tuple[Section | None, str]] = field(default_factory=dict)
    _runs: dict[int, tuple[Run | None, str]] = field(default_factory=dict)

    def section(self, number: int) -> tuple[Section | None, str]:
        """Open a section, and say what of it is gone or differs; empty if nothing."""
        if number not in self._sections:
            self._sections[number] = self._open_section(self.sections[number])
        return self._sections[number]

    def run(self, number: int) -> tuple[Run | None, str]:
        """Open a run, and say why it is not there; empty if it is."""
        if number not in self._runs:
            self._runs[number] = self._open_run(self.runs[number])
        return self._runs[number]

    def _open_section(self, said: Mapping[str, Any]) -> tuple[Section | None, str]:
        from napari_stenhance.section.section import Section, open_section

        why = f"{said['path']}: the section is not there any more."
        for paths in self._places(said):
            source = SectionSource.from_json({**said, **paths})
            if not source.path.parent.is_dir():
                continue
            try:
                section = open_section(**source.arguments(), job=self.job)
                if section.mpp != said["scale"] or not self._is_same(section.slide, said):
                    why = f"{source.path}: this is another slide now, or at another scale."
                    continue
                if "spots" not in said or section.spots is None or _same_spots(section, said):
                    return section, ""
            except (InputError, OSError) as error:
                why = str(error)
                continue
            why = f"{source.path}: the spots are others now; they are shown as they were saved."
            return Section(section.slide, name=section.name, mpp=section.mpp), why
        return None, why

    def _is_same(self, slide: Slide | None, said: Mapping[str, Any]) -> bool:
        was = said.get("slide")
        if slide is None or was is None:
            return slide is None and was is None
        if was["sha256"] is None and _glance_at(slide) != {k: was[k] for k in ("size", "ends")}:
            return False
        # Runs of the save are known to be of it by this.
        return was["sha256"] in {None, slide.state.sha256(self.job)}

    def _open_run(self, said: Mapping[str, Any]) -> tuple[Run | None, str]:
        from napari_stenhance.results.result import ResultFolder
        from napari_stenhance.results.runs import every_run

        why = f"{said['path']}: the result is not there any more."
        for paths in self._places(said):
            path = Path(paths["path"])
            if not ResultFolder.is_result(path):
                continue
            why = f"{path}: the result does not hold this run of {said['name']} any more."
            try:
                for run in every_run(ResultFolder.open(path, self.tiles)):
                    if (run.kind, run.name) == (said["kind"], said["name"]) and (
                        (_of(run), _identity(run)) == (said["of"], said["identity"])
                    ):
                        return run, ""
            except InputError as error:
                why = str(error)
        return None, why

    def _places(self, said: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        """List where the files of a link may be: beside the save as before, or where they were."""
        near = {
            key: os.path.normpath(self.folder / path)
            for key, path in said[RELATIVE].items()
            if isinstance(path, str)
        }
        far = {key: str(said[key]) for key in said[RELATIVE]}
        yield from (paths for paths in (near, far) if "path" in paths)


def _glance_at(slide: Slide) -> dict[str, int]:
    return {"size": slide.state.size, "ends": slide.state.ends}


def spots_key(section: Section) -> str:
    """Return a hash of ids, places, and the total counts of spots and of genes: quickly made."""
    spots = section.need_spots()
    digest = hashlib.sha256()
    digest.update("\n".join([*spots.obs_names, "", *spots.var_names]).encode())
    for values in (spots.X.sum(axis=0), spots.X.sum(axis=1), spots.obsm["spatial"]):
        digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return digest.hexdigest()


def _same_spots(section: Section, said: Mapping[str, Any]) -> bool:
    return spots_key(section) == said["spots"]


def _of(run: Run) -> str:
    attributes = run.result.attributes
    return str(attributes["slide" if run.result.has_slide else "spots"]["sha256"])


def _identity(run: Run) -> str:
    """Return a hash of the options and inputs of a run: what decides its values."""
    return hashlib.sha256(json.dumps(run.identity, sort_keys=True).encode()).hexdigest()
