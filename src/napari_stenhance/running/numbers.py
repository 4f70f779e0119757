"""How numbers of things are said."""

from __future__ import annotations


def counted(number: int, thing: str, of: int | None = None) -> str:
    """Say how many there are: `1 gene`, `2 genes`, `1 of 20 genes`.

    Parameters
    ----------
    number : int
    thing : str
        Of one; of several, an s follows.
    of : int, optional
        How many there are in all.
    """
    things = thing if (number if of is None else of) == 1 else f"{thing}s"
    return f"{number} {things}" if of is None else f"{number} of {of} {things}"


def agree(number: int, one: str, several: str) -> str:
    """Return what follows one, or several: `is` or `are`."""
    return one if number == 1 else several


def left_out(number: int, thing: str, which: str) -> str:
    """Say that they were left out: `2 spots without coordinates were left out.`."""
    return f"{counted(number, thing)} {which} {agree(number, 'was', 'were')} left out."


def lacking(number: int, thing: str, of: int, what: str) -> str:
    """Say why some were left out: `1 of 20 cells has no position and was left out.`."""
    verbs = agree(number, f"has no {what} and was", f"have no {what} and were")
    return f"{counted(number, thing, of)} {verbs} left out."
