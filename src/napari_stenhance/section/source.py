"""How a section was opened, so that it can be opened again as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_stenhance.section.registration import Registration

_KEYS = ("path", "image", "mpp", "series", "icc", "sample", "registration")


@dataclass(frozen=True)
class SectionSource:
    """What `open_section` was given for a section that lies on disk.

    Attributes
    ----------
    path : Path
        Absolute.
    image : Path or None
        The slide that was named, absolute.
    mpp : float or None
        The scale that was given.
    series : str or None
    icc : bool
    sample : str or None
        Which of several samples was chosen.
    registration : Registration or None
        What places the spots, if not where they are stated.
    """

    path: Path
    image: Path | None = None
    mpp: float | None = None
    series: str | None = None
    icc: bool = True
    sample: str | None = None
    registration: Registration | None = None

    def __post_init__(self) -> None:
        """Name files wherever the process goes; a link stays one, its name may be what counts."""
        object.__setattr__(self, "path", self.path.absolute())
        if self.image is not None:
            object.__setattr__(self, "image", self.image.absolute())

    def arguments(self) -> dict[str, Any]:
        """Return what `open_section` is called with."""
        return {key: getattr(self, key) for key in _KEYS}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; what is usual is left out."""
        usual = dict.fromkeys(_KEYS) | {"icc": True}
        said = {key: value for key, value in self.arguments().items() if value != usual[key]}
        if self.registration is not None:
            said["registration"] = self.registration.to_json()
        return {key: str(v) if isinstance(v, Path) else v for key, v in said.items()}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> SectionSource:
        """Read it again.

        Raises
        ------
        ValueError, TypeError, KeyError
            If that says no such thing.
        """
        mpp, series, icc = said.get("mpp"), said.get("series"), said.get("icc", True)
        sample, placing = said.get("sample"), said.get("registration")
        paths = [said["path"], *([said["image"]] if "image" in said else [])]
        if not (isinstance(icc, bool) and isinstance(series, str | None)):
            msg = "no series, or no choice of colours"
            raise TypeError(msg)
        if not isinstance(sample, str | None):
            msg = "no sample"
            raise TypeError(msg)
        if any("\0" in path for path in paths):
            msg = "no path"
            raise ValueError(msg)
        return cls(
            path=Path(said["path"]),
            image=Path(said["image"]) if "image" in said else None,
            mpp=None if mpp is None else float(mpp),
            series=series,
            icc=icc,
            sample=sample,
            registration=None if placing is None else Registration.from_json(placing),
        )
