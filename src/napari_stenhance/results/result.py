"""The result folder of one section."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.results.attributes import (
    ADVICE,
    KEY,
    check_root,
    describe_input,
    read_attributes,
    read_run_attributes,
    sealed,
    write_attributes,
)
from napari_stenhance.results.field import GeneField
from napari_stenhance.results.proof import check_run, record_files
from napari_stenhance.results.tissue import FIRST, read_tissue, tissue_name, write_tissue
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.region import Region
from napari_stenhance.section.section import Section
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.tissue_mask import PITCH_UM, mask_name
from napari_stenhance.storage.atomic import atomic_path, is_free, sweep
from napari_stenhance.storage.checked import open_node
from napari_stenhance.storage.lock import held
from napari_stenhance.storage.pyramid import create_levels, open_levels
from napari_stenhance.storage.reading import reading, zarr_has
from napari_stenhance.storage.tile_cache import TileCache
from napari_stenhance.storage.tiles import FILES, sweep_partial
from napari_stenhance.storage.writing import need_writable, writing

FORMAT_VERSION = 2
"""Since 2, chunks and attributes carry checksums, and complete runs have a manifest."""
SUFFIX = ".stenhance.zarr"
TILE = 256
_TILE_DEEP = 128
_DEEP = 512
_TILE_COARSE = 64
_COARSE_UM = 12.0
_LOCK = ".lock"


@dataclass(eq=False)
class ResultFolder:
    """Everything that was computed for one section, in one zarr v3 group.

    Attributes
    ----------
    path : Path
    group : zarr.Group
    tiles : TileCache
        Where its fields keep tiles that were read.
    attributes : dict
        What it says of itself: format version, slide (or, without one, spots), names of fields.
    """

    path: Path
    group: zarr.Group
    tiles: TileCache = field(default_factory=TileCache, repr=False)
    attributes: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Read its attributes.

        Raises
        ------
        InputError
            If they are damaged.
        """
        with reading(self.path / "zarr.json", "what it says of itself", ADVICE):
            said: Any = self.group.attrs[KEY]
            self.attributes = read_attributes(self.group, proven=said["format_version"] > 1)
            check_root(self.attributes)

    # Opening

    @classmethod
    def is_result(cls, path: Path) -> bool:
        """Tell, from one small file, whether a folder is a result."""
        return zarr_has(path, KEY)

    @classmethod
    def open(cls, path: str | Path, tiles: TileCache | None = None) -> ResultFolder:
        """Open a result for reading.

        Parameters
        ----------
        path : str or Path
        tiles : TileCache, optional
            Where its fields keep tiles that were read; by default one of its own.

        Raises
        ------
        InputError
            If the folder is no result, is damaged, or was written by a newer format.
        """
        path = Path(path)
        if not cls.is_result(path):
            msg = f"{path}: this is no result of napari-stenhance (no zarr.json that says so)."
            raise InputError(msg)
        with reading(path / "zarr.json", advice=ADVICE):
            group = zarr.open_group(path, mode="r", use_consolidated=False)
            version = group.attrs[KEY]["format_version"]  # type: ignore[index,call-overload]
            newer = version > FORMAT_VERSION  # type: ignore[operator]
        if newer:
            msg = f"{path}: written in format {version}; update napari-stenhance to read it."
            raise InputError(msg)
        return cls(path, group, tiles or TileCache())

    @classmethod
    @contextmanager
    def writing(
        cls, path: str | Path, of: Slide | Section, run: str, *, clear_dead_locks: bool = False
    ) -> Iterator[ResultFolder]:
        """Create a result, or continue the one that is there, as its only writer.

        Parameters
        ----------
        path : str or Path
        of : Slide or Section
            A section that has a slide of known scale is as its slide; else the result is that of
            its spots.
        run : str
            What is about to be written, for those who meet the lock.
        clear_dead_locks : bool
            The user's word that no process of another host writes here any more.

        Raises
        ------
        InputError
            If something else lies at `path`, it is the result of another slide or scale, it
            cannot be written, or another process is writing it.
        """
        path, described = Path(path), describe_input(of)
        if not cls.is_result(path):
            cls._create(path, described)
        cls.open(path)._check_same(described)
        with cls.adding(path, run, clear_dead_locks=clear_dead_locks) as result:
            yield result

    @classmethod
    @contextmanager
    def adding(
        cls, path: str | Path, run: str, *, clear_dead_locks: bool = False
    ) -> Iterator[ResultFolder]:
        """Open a result to add to what is in it, as its only writer; parameters as of `writing`.

        Raises
        ------
        InputError
            If the folder is no result, it cannot be written, or another process is writing it.
        """
        path = Path(path)
        cls.open(path)
        lock = path / FILES / _LOCK
        with writing(path), held(lock, run, clear_dead=clear_dead_locks):
            sweep(path.parent)
            sweep_partial(path)
            yield cls(path, zarr.open_group(path, mode="r+"))

    @classmethod
    def need_place(cls, path: Path, of: Slide | Section) -> None:
        """Refuse a place where no result of this can be made or added to; nothing is written.

        Raises
        ------
        InputError
            If something else lies there, that is the result of another slide or scale, or it
            cannot be written.
        """
        if cls.is_result(path):
            cls.open(path)._check_same(describe_input(of))
        cls._need_free(path)
        need_writable(path)

    @classmethod
    def _need_free(cls, path: Path) -> None:
        if not cls.is_result(path) and not is_free(path, folder=True):
            msg = (
                f"{path}: something that is not a result of napari-stenhance lies here; choose "
                "another place, nothing was touched."
            )
            raise InputError(msg, option="out")

    @classmethod
    def _create(cls, path: Path, of: Mapping[str, Any]) -> None:
        """Make a result without a run: whole, or not at all."""
        cls._need_free(path)
        attributes = sealed({"format_version": FORMAT_VERSION, **of, "runs": []})
        try:
            with atomic_path(path, folder=True) as aside:
                zarr.create_group(aside, attributes=attributes).create_group("fields")
        except InputError:
            # Another process may have made it meanwhile: its lock will tell.
            if not cls.is_result(path):
                raise

    def _check_same(self, of: Mapping[str, Any]) -> None:
        kind = "slide" if "slide" in of else "spots"
        new, old = of[kind], self.attributes.get(kind)
        if old is None or old["sha256"] != new["sha256"]:
            what = "another slide" if self.has_slide else "spots without a slide"
            msg = f"{self.path}: this is the result of {what} ({self.name}); choose "
            msg += f"another folder for {new['name']}."
            raise InputError(msg, option="out")
        if any(old.get(which) != new.get(which) for which in ("series", "conversions")):
            msg = (
                f"{self.path}: this result was made of another image of the same file, or with "
                "its colours converted in another way; choose another folder, or open the slide "
                "as it was opened then."
            )
            raise InputError(msg, option="out")
        if old["mpp"] != new["mpp"]:
            then, now = (
                "in pixels" if mpp is None else f"at {mpp:.12g} µm per pixel"
                for mpp in (old["mpp"], new["mpp"])
            )
            msg = (
                f"{self.path}: this result was made {then}, and now the scale is {now}; choose "
                "another folder, or the same scale."
            )
            raise InputError(msg, option="out")

    # What is in it

    @property
    def proven(self) -> bool:
        """Whether damage is noticed: results that format 1 began have no checksums."""
        return int(self.attributes["format_version"]) > 1

    @property
    def has_slide(self) -> bool:
        """Whether this is the result of a slide; else it is of spots that have none."""
        return "slide" in self.attributes

    @property
    def name(self) -> str:
        """Name of the slide, or of the spots."""
        return str(self.attributes["slide" if self.has_slide else "spots"]["name"])

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the gene fields, oldest first; `every_run` lists runs of all kinds."""
        return tuple(self.attributes["runs"])

    def run_attributes(self, run: str) -> dict[str, Any]:
        """Read what a gene field says of itself now: options, inputs with hashes, seed, grid …

        Raises
        ------
        InputError
            If there is no such run, or that is damaged.
        """
        return read_run_attributes(self.run_group(run), proven=self.proven)

    def run_group(self, run: str) -> zarr.Group:
        """Return the group of a run.

        Raises
        ------
        InputError
            If there is no such run.
        """
        if run not in self.runs:
            names = ", ".join(self.runs) or "none"
            msg = f"{self.path}: there is no run {run!r}; there are: {names}."
            raise InputError(msg)
        return open_node(self.group, f"fields/{run}", zarr.Group)

    def field(self, run: str) -> GeneField:
        """Open the gene field of a run.

        Raises
        ------
        InputError
            If there is no such run, or anything of it is missing or damaged that can be told
            without reading all.
        """
        group, attributes = self.run_group(run), self.run_attributes(run)
        if attributes["complete"]:
            check_run(self.path, "fields", run, proven=self.proven)
        grid = Grid.from_dict(attributes["grid"])
        with reading(self.path / "fields" / run / "decoder", advice=ADVICE):
            decoder = Decoder.read(open_node(group, "decoder", zarr.Group))
        rasters = {
            name: tuple(
                open_levels(open_node(group, name, zarr.Group), grid.shape, decoder.channels)
            )
            for name in ("latent", "spread")
        }
        return GeneField(
            grid=grid,
            decoder=decoder,
            latent=rasters["latent"],
            spread=rasters["spread"],
            tiles=self.tiles,
        )

    def model_folder(self, run: str) -> Path:
        """Return where a run's model lies: weights.safetensors and config.json."""
        return self.path / FILES / "models" / run

    # Writing

    def start_run(
        self, stem: str, identity: Mapping[str, Any], provenance: Mapping[str, Any], grid: Grid
    ) -> str:
        """Find the run that these options made, or begin a new one beside it.

        Parameters
        ----------
        stem : str
            `<method>-<encoder>-<preset>`.
        identity : mapping
            Options and inputs; runs are the same if it is.
        provenance : mapping
            What else to record: seed, versions, device.

        Returns
        -------
        str
            The run's name: `stem`, or `stem-2` … if other options took it.
        """
        identity = json.loads(json.dumps(identity))
        for run in self.runs:
            if self.run_attributes(run)["identity"] == identity:
                return run
        run = free_name(stem, self.runs)
        record = {
            "identity": identity,
            **provenance,
            "grid": grid.to_json(),
            "complete": False,
        }
        self.group.create_group(f"fields/{run}", attributes=sealed(record), overwrite=True)
        self.attributes = {**self.attributes, "runs": [*self.runs, run]}
        write_attributes(self.group, self.attributes)
        return run

    def forget_run(self, run: str) -> None:
        """Take back a run that was begun, and into which nothing was written."""
        self.attributes = {**self.attributes, "runs": [one for one in self.runs if one != run]}
        write_attributes(self.group, self.attributes)
        del self.group[f"fields/{run}"]
        self._region_file(run).unlink(missing_ok=True)

    def update_run(self, run: str, **changes: Any) -> None:
        """Change or add provenance of a run, in one atomic write."""
        write_attributes(self.run_group(run), {**self.run_attributes(run), **changes})

    def complete_run(self, run: str, job: Job, **changes: Any) -> None:
        """Record what a run is made of, and then that it is complete."""
        children = sorted(
            child.name for child in (self.path / "fields" / run).iterdir() if child.is_dir()
        )
        parts = [f"fields/{run}/{name}" for name in children if name != "genes"]
        parts += [*self.tissue_names(run), f"files/models/{run}", f"files/regions/{run}.geojson"]
        record_files(self.path, "fields", run, parts, job)
        self.update_run(run, **changes, complete=True)

    def save_model(self, run: str, save: Callable[[Path], None]) -> None:
        """Save a model whole: it is written aside and renamed."""
        with atomic_path(self.model_folder(run), folder=True) as aside:
            save(aside)

    def create_field(self, run: str, decoder: Decoder, grid: Grid, dim: int = 0) -> GeneField:
        """Make the rasters and the decoder of a run, or open them if they are there.

        Parameters
        ----------
        run : str
        decoder : Decoder
        grid : Grid
        dim : int
            Length of the feature vectors that it is predicted from: of long ones tiles are small.
        """
        group = self.run_group(run)
        if not self.run_attributes(run).get("field_created", False):
            for name in ("latent", "spread"):
                create_levels(
                    group.create_group(name, overwrite=True),
                    grid.shape,
                    tile=_field_tile(max(decoder.channels, dim), grid),
                    dtype="f2",
                    channels=decoder.channels,
                    apart=decoder.weights is None,
                    fill_value=np.nan,
                )
            decoder.write(group.create_group("decoder", overwrite=True))
            self.update_run(run, field_created=True)
        return self.field(run)

    def write_tissue(self, tissue: NDArray[np.bool_], grid: Grid, kind: str = "density") -> None:
        """Write a tissue mask as a label image; a kind is how it was found, or its own name."""
        write_tissue(self.group, self.path, tissue, grid, kind)

    def tissue_kind(self, run: str) -> str:
        """Return how a run told tissue from glass: a kind, or the name of a mask it was given."""
        identity = self.run_attributes(run)["identity"]
        given = identity.get("tissue_sha256")
        kind: str = mask_name(str(given)) if given else identity.get("tissue", "density")
        return kind

    def tissue_names(self, run: str) -> list[str]:
        """Name the label images of a run's tissue: on its grid, and as it was given."""
        kind, attributes = self.tissue_kind(run), self.run_attributes(run)
        pitches = [Grid.from_dict(attributes["grid"]).pitch_um]
        pitches += [PITCH_UM] * ("tissue_sha256" in attributes["identity"])
        names = (tissue_name(self.group, self.path, kind, pitch_um) for pitch_um in pitches)
        return list(dict.fromkeys(names))

    def tissue(self, run: str | None = None) -> NDArray[np.bool_]:
        """Read the tissue mask of a run, by default the first, in the shape of the grid."""
        return read_tissue(self.group, FIRST if run is None else self.tissue_names(run)[0])

    def given_tissue(self, run: str) -> NDArray[np.bool_] | None:
        """Read the mask that a run was given, in superpixels of 8 µm; None if it found tissue."""
        if "tissue_sha256" not in self.run_attributes(run)["identity"]:
            return None
        return read_tissue(self.group, self.tissue_names(run)[-1])

    def save_region(self, run: str, region: Region) -> None:
        """Write the region of a run as GeoJSON, once."""
        file = self._region_file(run)
        if not file.exists():
            with atomic_path(file) as aside:
                aside.write_text(region.to_json(), "utf-8")

    def region(self, run: str) -> Region | None:
        """Read the region of a run; None if it covers the whole slide."""
        file = self._region_file(run)
        return Region.read(file) if file.exists() else None

    def _region_file(self, run: str) -> Path:
        return self.path / FILES / "regions" / f"{run}.geojson"

    def log(self, event: str, **content: Any) -> None:
        """Append a line to files/log.jsonl: the only file with times, host and paths."""
        file = self.path / FILES / "log.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC).isoformat()
        line = {"time": now, "host": platform.node(), "event": event, **content}
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, default=str) + "\n")


def _field_tile(channels: int, grid: Grid) -> int:
    """Size tiles so that one takes little memory, and little time to predict."""
    if grid.pitch_um > _COARSE_UM:
        # Methods that see crops: they look far around each of few superpixels.
        return _TILE_COARSE
    return TILE if channels <= _DEEP else _TILE_DEEP


def free_name(stem: str, taken: Collection[str]) -> str:
    """Return `stem`, or `stem-2` … if others have that name."""
    names = (stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
