"""What the tissue that a model learned from looks like, and how far other tissue lies from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.methods.drawing import some_of

_DRAWN = 4096
_AXES, _HELD = 50, 0.98
"""At most so many axes, and no more than hold this share of the variance: what lies off those is
seen best, but beyond them the few spots that crops are learned at differ by chance."""
_ROWS_FOR_AXIS = 4
_WITHIN = 0.95
_STEP, _STEP_OF_AXES = 2.0**-10, 2.0**-14
"""Sums of products of multiples of these are exact: they do not depend on where a tile begins."""
_AT_ONCE = 32 * 1024**2
_DOUBTED = 0.15
"""Three times what is expected. Serial sections of a tumour come to .10, once to .17; another organ
and a phantom to .27 and more (docs/reliability.md)."""


@dataclass(frozen=True)
class FamiliarTissue:
    """How the inputs of training tissue are spread, and what 95 % of it stays within.

    The distance is the combined index of Yue and Qin (2001): Hotelling's T² along the leading
    principal axes, and the squared residual off these axes (Jackson and Mudholkar 1979), each over
    its mean on training tissue. It is calibrated as conformal prediction is (Vovk, Gammerman and
    Shafer 2005), on spatial blocks that the axes did not see.

    Attributes
    ----------
    mean : ndarray of float32, shape (inputs,)
    axes : ndarray of float32, shape (inputs, q)
        Orthonormal but for rounding to multiples of 2⁻¹⁴.
    variance : ndarray of float32, shape (q,)
        Of training tissue along each axis.
    rest : ndarray of float32, shape (1,)
        Its variance off the axes, of all inputs together.
    edge : ndarray of float32, shape (1,)
        What 95 % of held-out tissue stays within, before it is divided by this.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    variance: NDArray[np.float32]
    rest: NDArray[np.float32]
    edge: NDArray[np.float32]

    @classmethod
    def of(cls, inputs: NDArray[np.float32], fold: NDArray[np.int64]) -> FamiliarTissue | None:
        """Fit what inputs are spread like, and calibrate it on folds left out in turn.

        Of many, `drawn_rows` do.

        Parameters
        ----------
        inputs : ndarray of float32, shape (n, inputs)
            Standardised, as a model is given them.
        fold : ndarray of int64, shape (n,)
            Which fold of spatial blocks each belongs to.

        Returns
        -------
        FamiliarTissue or None
            None where too few are held out to say what 95 % stay within, or none vary.
        """
        held_out = []
        for one in np.unique(fold):
            seen = inputs[fold != one]
            if len(seen) >= _ROWS_FOR_AXIS and np.ptp(seen, axis=0).any():
                held_out.append(_fitted(seen).distance(inputs[fold == one]))
        pooled = np.sort(np.concatenate(held_out)) if held_out else np.empty(0, np.float32)
        at = int(np.ceil((len(pooled) + 1) * _WITHIN)) - 1
        if not 0 <= at < len(pooled) or not pooled[at] > 0:
            return None
        whole = _fitted(inputs)
        return cls(whole.mean, whole.axes, whole.variance, whole.rest, pooled[at : at + 1])

    def distance(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how far tissue lies from what was learned from; beyond 1 only 5 % of that does.

        Parameters
        ----------
        inputs : ndarray of float32, shape (n, inputs)
            Standardised, as a model is given them.

        Returns
        -------
        ndarray of float32, shape (n,)
            The same bits whatever stands in the other rows.
        """
        at_once = max(_AT_ONCE // (8 * max(inputs.shape[1], 1)), 1)
        starts = range(0, max(len(inputs), 1), at_once)
        return np.concatenate([self._distance(inputs[low : low + at_once]) for low in starts])

    def _distance(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        away = np.rint((inputs - self.mean) * np.float32(1 / _STEP)).astype(np.float64)
        away *= _STEP
        along = np.square(away @ self.axes.astype(np.float64))
        off = np.maximum(np.square(away).sum(axis=1) - along.sum(axis=1), 0)
        both = (along / self.variance).sum(axis=1) / len(self.variance) + off / self.rest
        distance: NDArray[np.float32] = (np.sqrt(both / 2) / self.edge).astype(np.float32)
        return distance

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return what is saved, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.float32]]) -> FamiliarTissue | None:
        """Take them as `arrays` gave them; None where a model has none."""
        return cls(**arrays) if arrays else None


def drawn_rows(number: int) -> NDArray[np.int64]:
    """Draw at most 4,096 of so many rows with a fixed seed, ascending."""
    return some_of(number, _DRAWN, np.random.default_rng(0))


def unfamiliar_doubts(share: float | None, learned_from: Sequence[str]) -> list[str]:
    """Say that much of the tissue is unlike what was learned from; nothing where little is."""
    if share is None or share <= _DOUBTED:
        return []
    of = ", ".join(learned_from)
    said = f"{share:.0%} of the tissue looks unlike what was learned from ({of}), where 5% would "
    return [f"{said}if it were alike: what is predicted there is a guess."]


def _fitted(rows: NDArray[np.float32]) -> FamiliarTissue:
    """Find axes of some inputs, not calibrated."""
    from sklearn.decomposition import PCA

    few = min(len(rows) // _ROWS_FOR_AXIS, rows.shape[1] // 2)
    found = PCA(max(min(_AXES, few), 1), svd_solver="randomized", random_state=0).fit(rows)
    held = np.cumsum(found.explained_variance_ratio_)
    axes = min(int(np.searchsorted(held, _HELD)) + 1, len(held))
    variance = np.maximum(found.explained_variance_[:axes], _STEP**2)
    rest = rows.var(axis=0, ddof=1, dtype=np.float64).sum() - variance.sum(dtype=np.float64)
    # Inputs that the axes hold whole leave rounding alone off them.
    least = max(float(rest), _STEP**2 * rows.shape[1])
    return FamiliarTissue(
        mean=found.mean_.astype(np.float32),
        axes=(np.rint(found.components_[:axes].T / _STEP_OF_AXES) * _STEP_OF_AXES).astype(
            np.float32
        ),
        variance=variance.astype(np.float32),
        rest=np.array([least], np.float32),
        edge=np.ones(1, np.float32),
    )
