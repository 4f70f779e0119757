"""How numbers of things are said."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """Say how many there are: `1 gene`, `2 genes`.

    Parameters
    ----------
    number : int
    thing : str
        Of one; of several, an s follows.
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
