"""Where spots belong on their slide, if not where they are stated: an affine map."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import counted
from napari_stenhance.storage.atomic import atomic_path, need_free
from napari_stenhance.storage.reading import reading

STATED = "spatial_stated"
"""Key of `obsm` that keeps the positions as files state them, where spots are registered."""
FitKind = Literal["rigid", "similarity", "affine"]
FITS: tuple[FitKind, ...] = get_args(FitKind)
PAIRS_LEAST = 3
_FORMAT = "stenhance_registration"
_VERSION = 1
_COLUMNS = ("x", "y", "x_slide", "y_slide")
# Of Xenium Explorer: the fixed image is the one that positions are measured on.
_KEYPOINTS = ("fixedx", "fixedy", "alignmentx", "alignmenty")
_ADVICE = "save it again"
_BYTES_MOST = 2**22
# Of the wider spread of points, the narrower: less is a line.
_SPREAD_LEAST = 0.01
_SCALE_MOST, _STRETCH_MOST, _FARTHEST = 200.0, 2.0, 1e9
_SAME_PX = 1e-6
_ROUNDING = 1e-3
_NAMED = {"rigid": "euclidean", "similarity": "similarity"}

Pair = tuple[float, float, float, float]


@dataclass(frozen=True)
class Registration:
    """Takes spots from where they are stated to where they belong on their slide.

    Attributes
    ----------
    matrix : tuple of two tuples of three floats
        New (x, y) of stated (x, y, 1), both in full-resolution pixels of the slide as it is opened;
        whole numbers are centres of pixels.
    made : str
        How it was made, as a sentence says by what spots are placed: "pairs.csv (affine …)".
    pairs : tuple of (x, y, x_slide, y_slide)
        The landmarks that it was fitted to, in pixels; empty if it was made otherwise.

    Raises
    ------
    InputError
        If the matrix is none, flattens the tissue, or scales or stretches it beyond reason.

    Examples
    --------
    >>> half = st.Registration.turned(180, about=(50, 50))
    >>> half([[0, 0], [50, 50]]).round(6).tolist()
    [[100.0, 100.0], [50.0, 50.0]]
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    made: str = "a matrix"
    pairs: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        """Check what may come from a file."""
        object.__setattr__(self, "matrix", _checked(self.matrix))
        object.__setattr__(self, "made", " ".join(str(self.made).split()) or "a matrix")
        pairs = _numbers(self.pairs, 4, "The pairs")
        object.__setattr__(self, "pairs", tuple(tuple(map(float, pair)) for pair in pairs))

    def __call__(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Place positions, shape (n, 2), in pixels."""
        array, stated = np.array(self.matrix), np.asarray(xy, dtype=np.float64)
        placed: NDArray[np.float64] = stated[..., :2] @ array[:, :2].T + array[:, 2]
        return placed

    @classmethod
    def identity(cls) -> Registration:
        """Return what leaves every spot where it is stated."""
        return cls(((1, 0, 0), (0, 1, 0)), "hand")

    @classmethod
    def moved(cls, dx: float, dy: float) -> Registration:
        """Return a move, in pixels: to the right and down."""
        return cls(((1, 0, dx), (0, 1, dy)), "hand")

    @classmethod
    def turned(cls, degrees: float, about: tuple[float, float]) -> Registration:
        """Return a turn, clockwise as the slide is seen, about a point in pixels."""
        angle = np.deg2rad(degrees)
        # Right angles are exact.
        cos, sin = (float(np.round(v, 15)) for v in (np.cos(angle), np.sin(angle)))
        return cls._about(np.array([[cos, -sin], [sin, cos]]), about)

    @classmethod
    def mirrored(cls, along: Literal["x", "y"], about: tuple[float, float]) -> Registration:
        """Return a flip about a point in pixels: left to right along x, top to bottom along y."""
        sides = (-1.0, 1.0) if along == "x" else (1.0, -1.0)
        return cls._about(np.diag(sides), about)

    @classmethod
    def _about(cls, linear: NDArray[np.float64], about: tuple[float, float]) -> Registration:
        centre = np.asarray(about, dtype=np.float64)
        return cls.from_array(np.column_stack([linear, centre - linear @ centre]), "hand")

    @classmethod
    def from_array(cls, matrix: ArrayLike, made: str, pairs: Iterable[Pair] = ()) -> Registration:
        """Take a matrix of shape (2, 3), or (3, 3) that ends in 0, 0, 1; raises as the class."""
        rows = np.asarray(matrix, dtype=np.float64)
        if rows.shape == (3, 3) and np.allclose(rows[2], (0, 0, 1)):
            rows = rows[:2]
        return cls(tuple(map(tuple, rows)), made, tuple(pairs))  # type: ignore[arg-type]

    @classmethod
    def from_pairs(
        cls, pairs: ArrayLike, kind: FitKind = "affine", where: str = "landmarks"
    ) -> Registration:
        """Fit landmarks by least squares.

        Parameters
        ----------
        pairs : array of shape (n, 4)
            Each (x, y, x_slide, y_slide) in pixels: where a landmark is stated, and where on the
            slide it belongs.
        kind : {"rigid", "similarity", "affine"}
            What may happen: a turn, a flip and a move; scale too; stretch and shear too.
        where : str
            What the pairs come from: errors and `made` name it.

        Raises
        ------
        InputError
            If there are fewer than 3, a number is missing, they lie on a line, or what fits is
            absurd.
        """
        points = _numbers(pairs, 4, where)
        if kind not in FITS:
            msg = f"{where}: a fit is {', '.join(FITS)}, and not {kind!r}."
            raise InputError(msg)
        if len(points) < PAIRS_LEAST:
            msg = (
                f"{where}: {counted(len(points), 'landmark pair')} cannot say how spots lie; give "
                f"{PAIRS_LEAST} or more, not on a line."
            )
            raise InputError(msg)
        for ends, what in ((points[:, :2], "stated positions"), (points[:, 2:], "places on slide")):
            spread = np.linalg.svd(ends - ends.mean(axis=0), compute_uv=False)
            if spread[1] <= _SPREAD_LEAST * spread[0]:
                msg = (
                    f"{where}: the {what} of the {len(points)} landmark pairs lie on a line, or at "
                    "one point; add one far from it."
                )
                raise InputError(msg)
        try:
            matrix = _fit(points, kind)
            made = f"{where} ({kind} fit of {counted(len(points), 'landmark pair')})"
            return cls.from_array(matrix, made, map(tuple, points))
        except InputError as error:
            msg = f"{where}: what fits the landmark pairs cannot be right. {error}"
            raise InputError(msg) from error

    def then(self, other: Registration, made: str = "") -> Registration:
        """Return both, one after the other; what it was made of is the first's, unless said."""
        array = _square(self.matrix)
        return Registration.from_array(_square(other.matrix) @ array, made or self.made, self.pairs)

    def inverse(self) -> Registration:
        """Return the way back."""
        return Registration.from_array(np.linalg.inv(_square(self.matrix)), self.made)

    @property
    def is_identity(self) -> bool:
        """Whether every spot stays where it is stated."""
        return self.matrix == ((1, 0, 0), (0, 1, 0))

    @property
    def factor(self) -> float:
        """How much longer lengths become, in the mean of all directions."""
        return float(np.sqrt(abs(np.linalg.det(np.array(self.matrix)[:, :2]))))

    def residuals(self) -> NDArray[np.float64]:
        """Return how far each landmark lies from where it belongs, in pixels, shape (pairs,)."""
        points = np.array(self.pairs, dtype=np.float64).reshape(-1, 4)
        return np.asarray(np.hypot(*(self(points[:, :2]) - points[:, 2:]).T))

    def place(
        self, obsm: Mapping[str, Any], xy: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Place spots, unless they were placed by it before.

        Parameters
        ----------
        obsm : mapping
            Of the spots.
        xy : ndarray of float64, shape (n, 2)
            Their positions in pixels.

        Returns
        -------
        stated : ndarray of float64, shape (n, 2)
            Positions as the files state them.
        obsm : dict
            With registered positions, and the stated ones.
        """
        kept = obsm.get(STATED)
        if kept is not None:
            stated: NDArray[np.float64] = np.asarray(kept, dtype=np.float64)[:, :2]
            if np.allclose(self(stated), xy, rtol=0, atol=_SAME_PX):
                return stated, dict(obsm)
        return xy, {**obsm, "spatial": self(xy), STATED: obsm["spatial"]}

    def describe(self, stated: NDArray[np.float64], mpp: float | None) -> str:
        """Say what becomes of positions, in words.

        Parameters
        ----------
        stated : ndarray of float64, shape (n, 2)
            In pixels: the move that is said is that of their middle.
        mpp : float or None
            Micrometres per pixel; without it, lengths are in pixels.
        """
        by, unit = (1.0, "px") if mpp is None else (mpp, "µm")
        middle = stated.mean(axis=0)
        # What is nothing but rounding is 0, without a sign.
        dx, dy = np.round((self(middle) - middle) * by, 2) + 0.0
        steps = _steps(np.array(self.matrix)[:, :2])
        if max(abs(dx), abs(dy)) >= 0.05:
            what = "their middle moved" if steps else "moved"
            steps.append(f"{what} by {dx:+.4g} {unit} in x and {dy:+.4g} {unit} in y")
        return ", ".join(steps) or "left as they are stated"

    def doubt(self, stated: NDArray[np.float64], mpp: float | None) -> str:
        """Say by what spots are placed, where, and how well it fits its landmarks."""
        said = f"Spots are placed by {self.made}: {self.describe(stated, mpp)}"
        if not self.pairs:
            return f"{said}."
        by, unit = (1.0, "px") if mpp is None else (mpp, "µm")
        off = self.residuals() * by
        return f"{said}; {said_of_landmarks(off, unit)}."

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        said: dict[str, Any] = {"matrix": [list(row) for row in self.matrix], "made": self.made}
        return {**said, "pairs": [list(pair) for pair in self.pairs]} if self.pairs else said

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Registration:
        """Read it again; raises TypeError, KeyError or ValueError if that says no such thing."""
        made = str(said.get("made", "a matrix"))
        try:
            return cls.from_array(said["matrix"], made, map(tuple, said.get("pairs", ())))
        except InputError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def read(cls, path: str | Path) -> Registration:
        """Read a file: ours, landmark pairs, or a matrix of Xenium Explorer.

        Landmark pairs are a table (CSV) with the columns x, y, x_slide, y_slide in full-resolution
        pixels: where each is stated, and where on the slide it belongs; or Xenium Explorer's
        keypoints, whose fixed image is the one that positions were measured on. Its matrix,
        3 × 3 numbers without a heading, takes pixels of the slide to those of the positions.

        Raises
        ------
        InputError
            If it is missing, none of these, or what it says cannot be right.
        """
        path = Path(path)
        if not path.is_file():
            what = "this is a folder, and no file" if path.is_dir() else "there is no such file"
            msg = f"{path}: {what}."
            raise InputError(msg, option="registration")
        with reading(path, "the registration", _ADVICE), path.open("rb") as file:
            said = file.read(_BYTES_MOST + 1)
        if len(said) > _BYTES_MOST:
            # Part of it would be another fit.
            msg = (
                f"{path}: this is larger than {_BYTES_MOST >> 20} MB, and no registration; give "
                "landmark pairs, or what was saved as one."
            )
            raise InputError(msg, option="registration")
        with reading(path, "the registration", _ADVICE):
            text = said.decode("utf-8-sig")
        if text.lstrip().startswith("{"):
            return _from_ours(text, path)
        numbered = [
            (n, line)
            for n, line in enumerate(text.splitlines(), 1)
            if line.strip() and line[0] != "#"
        ]
        first = numbered[0][1] if numbered else ""
        mark = max(",;\t", key=first.count)
        rows = [(n, next(csv.reader([line], delimiter=mark))) for n, line in numbered]
        head = [cell.strip().lower() for cell in rows[0][1]] if rows else []
        for names in (_COLUMNS, _KEYPOINTS):
            if set(names) <= set(head):
                pairs = [
                    [_number(row, head.index(name), name, path, n) for name in names]
                    for n, row in rows[1:]
                ]
                fitted = cls.from_pairs(pairs, where=str(path))
                # By its name alone: results do not say where files lie.
                made = fitted.made.replace(str(path), path.name)
                return cls(fitted.matrix, made, fitted.pairs)
        if len(rows) == 3 and all(len([c for c in row if c.strip()]) == 3 for _, row in rows):
            cells = [[_number(row, at, "", path, n) for at in range(3)] for n, row in rows]
            return _from_xenium(cells, path)
        msg = (
            f"{path}: this is no registration; it must be a table with the columns "
            f"{', '.join(_COLUMNS)} in full-resolution pixels, or what was saved as one."
        )
        raise InputError(msg)

    @classmethod
    def given(cls, value: str | Path | Registration) -> Registration:
        """Return a registration, read if it is a path."""
        return value if isinstance(value, Registration) else cls.read(value)

    def write(self, path: str | Path) -> Path:
        """Write it as JSON; a registration that lies there is replaced.

        Raises
        ------
        InputError
            If something else lies there.
        """
        path = Path(path)
        ours = path.is_file() and _is_ours(path)
        if not ours:
            need_free(path)
        said = {_FORMAT: _VERSION, **self.to_json()}
        with atomic_path(path, replace=ours) as aside:
            aside.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path


def said_of_landmarks(off: NDArray[np.float64], unit: str) -> str:
    """Say how far landmarks lie from where they belong."""
    mean, most = distance_in_digits(np.sqrt((off**2).mean())), distance_in_digits(off.max())
    return f"landmarks are off by {mean} {unit} (RMS), {most} {unit} at most"


def distance_in_digits(distance: float) -> str:
    """Write a distance in three digits; what is nothing but rounding is 0."""
    return f"{distance:.3g}" if distance >= _ROUNDING else "0"


def _fit(points: NDArray[np.float64], kind: FitKind) -> NDArray[np.float64]:
    """Fit a matrix of 3 × 3; of what only turns, a mirrored one if that is nearer."""
    from skimage.transform import estimate_transform

    stated, slide = points[:, :2], points[:, 2:]
    if kind == "affine":
        # scikit-image minimises another distance there than what lies between landmarks.
        known = np.column_stack([stated, np.ones(len(stated))])
        return _square(np.linalg.lstsq(known, slide, rcond=None)[0].T)
    best, least = np.full((3, 3), np.nan), np.inf
    for flip in (np.eye(3), np.diag([-1.0, 1.0, 1.0])):
        fitted = estimate_transform(_NAMED[kind], stated @ flip[:2, :2], slide)
        matrix = np.asarray(fitted.params) @ flip
        off = np.square(stated @ matrix[:2, :2].T + matrix[:2, 2] - slide).sum()
        if off < least:
            best, least = matrix, off
    return best


def _numbers(values: Any, columns: int, where: str) -> NDArray[np.float64]:
    """Return rows of finite numbers."""
    try:
        rows = np.array([*values], dtype=np.float64).reshape(len(values), columns)
    except (TypeError, ValueError) as error:
        msg = f"{where}: these are no rows of {columns} numbers."
        raise InputError(msg) from error
    bad = np.flatnonzero(~(np.abs(rows) < _FARTHEST).all(axis=1))
    if len(bad):
        msg = f"{where}, pair {bad[0] + 1}: a number is missing, or beyond any slide."
        raise InputError(msg)
    return rows


def _number(row: Sequence[str], at: int, name: str, path: Path, line: int) -> float:
    try:
        value = float(row[at])
    except (IndexError, ValueError):
        value = np.nan
    if not abs(value) < _FARTHEST:
        cell = row[at].strip() if at < len(row) else ""
        what = f"{name or 'a cell'} is {cell!r}" if cell else f"{name or 'a cell'} is empty"
        msg = f"{path}, row {line}: {what}, and no number that can be a pixel; correct it."
        raise InputError(msg)
    return value


def _square(matrix: Any) -> NDArray[np.float64]:
    return np.vstack([np.array(matrix, dtype=np.float64), (0.0, 0.0, 1.0)])


def _checked(matrix: Any) -> tuple[tuple[float, ...], ...]:
    """Refuse what no slide does to tissue."""
    try:
        array = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (2, 3) or not (np.abs(array) < _FARTHEST).all():
        msg = "A registration is a matrix of 2 rows of 3 numbers, all finite; correct it."
        raise InputError(msg)
    long, short = np.linalg.svd(array[:, :2], compute_uv=False)
    if short < 1 / _SCALE_MOST or long > _SCALE_MOST:
        msg = (
            f"The registration scales tissue by {short:.3g} to {long:.3g}, which flattens or "
            "bursts it; check the pairs, and their columns and units."
        )
        raise InputError(msg)
    if long > _STRETCH_MOST * short:
        msg = (
            f"The registration stretches tissue {long / short:.3g} times more in one direction "
            "than in the other; check the pairs, and their columns."
        )
        raise InputError(msg)
    return tuple(tuple(float(v) + 0.0 for v in row) for row in array)


def _steps(linear: NDArray[np.float64]) -> list[str]:
    """Say what the linear part does."""
    steps = []
    mirrored = np.linalg.det(linear) < 0
    turn = linear @ np.diag([-1.0, 1.0]) if mirrored else linear
    angle = np.degrees(np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1]))
    half = abs(abs(angle) - 180) < 0.05
    if mirrored:
        steps.append("mirrored top to bottom" if half else "mirrored left to right")
    if half and not mirrored:
        steps.append("turned by 180°")
    elif not half and abs(angle) >= 0.05:
        sense = "clockwise" if angle > 0 else "counter-clockwise"
        steps.append(f"turned by {abs(angle):.3g}° {sense}")
    long, short = np.linalg.svd(linear, compute_uv=False)
    if long / short > 1.0005:
        steps.append(f"stretched by {long:.4g} and {short:.4g} across")
    elif abs(long - 1) > 0.0005:
        steps.append(f"scaled by {long:.4g}")
    return steps


def _from_ours(text: str, path: Path) -> Registration:
    try:
        said = json.loads(text)
        version = said[_FORMAT]
    except (ValueError, KeyError, RecursionError) as error:
        msg = f"{path}: this is no registration that napari-stenhance wrote; give another file."
        raise InputError(msg) from error
    if version != _VERSION:
        msg = f"{path}: this was saved in format {version}; update napari-stenhance to read it."
        raise InputError(msg)
    try:
        found = Registration.from_json(said)
    except (TypeError, ValueError, KeyError) as error:
        why = error.__cause__ or f"its matrix or pairs are damaged; {_ADVICE}."
        msg = f"{path}: {why}"
        raise InputError(msg) from error
    made = found.made if found.made.startswith(path.name) else f"{path.name} ({found.made})"
    return Registration(found.matrix, made, found.pairs)


def _from_xenium(cells: list[list[float]], path: Path) -> Registration:
    """Take what takes pixels of the H&E to those of the morphology image, and go it backwards."""
    matrix = np.array(cells)
    if not np.allclose(matrix[2], (0, 0, 1)) or abs(np.linalg.det(matrix)) < 1e-12:
        msg = f"{path}: a matrix must end in 0, 0, 1, and not flatten the slide; export it again."
        raise InputError(msg)
    try:
        made = f"{path.name} (matrix of Xenium Explorer, inverted)"
        return Registration.from_array(np.linalg.inv(matrix), made)
    except InputError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from error


def _is_ours(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return _FORMAT in json.load(file)
    except (OSError, ValueError, RecursionError, TypeError):
        return False
