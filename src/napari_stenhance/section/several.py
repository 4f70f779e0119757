"""The error of what holds several samples, of which none was named."""

from __future__ import annotations

from collections.abc import Sequence

from napari_stenhance.errors import InputError

_NAMES_MOST = 12


class SeveralSamples(InputError):
    """A file or folder holds several samples, and which is meant was not said.

    Parameters
    ----------
    message : str
    option : str
    samples : sequence of str
        Their names, to choose from.
    """

    def __init__(
        self, message: str, *, option: str = "sample", samples: Sequence[str] = ()
    ) -> None:
        super().__init__(message, option=option)
        self.samples = tuple(samples)

    @classmethod
    def named(
        cls, where: str, how: str, samples: Sequence[str], wanted: str | None
    ) -> SeveralSamples:
        """Say which samples there are.

        Parameters
        ----------
        where : str
            What holds them.
        how : str
            What tells them apart.
        samples : sequence of str
        wanted : str or None
            A name that is not among them.
        """
        listed = listed_samples(samples)
        if wanted is not None:
            msg = f"{where}: there is no sample {wanted!r} {how}; there are {listed}: name one."
        else:
            msg = (
                f"{where}: there are several samples, told apart {how}, each in pixels of a slide "
                f"of its own: {listed}; name the sample to open."
            )
        return cls(msg, samples=samples)


def listed_samples(samples: Sequence[str]) -> str:
    """List names, a dozen at most, for a sentence."""
    listed = ", ".join(samples[:_NAMES_MOST])
    rest = len(samples) - _NAMES_MOST
    return listed + (f" and {rest} more" if rest > 0 else "")
