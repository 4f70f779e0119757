"""What a kind of thing has of it: the modules of its package, and what other packages add."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from functools import cache
from importlib.metadata import entry_points
from typing import Any


@cache
def extensions(package: str, attribute: str, *, packages: bool = False) -> tuple[Any, ...]:
    """Collect an attribute of every module of a package that defines it, and of other packages.

    Ours come first, in the order of their modules' names; then those of entry points whose group
    is the package's name, in the order of their names. Adding one is a file, here or elsewhere.

    Parameters
    ----------
    package : str
        Such as "napari_stenhance.section.images"; its modules are imported, so what they need only
        at work they must import there.
    attribute : str
        Such as "FORMAT".
    packages : bool
        Of the package's modules, look only at those that are packages themselves.

    Examples
    --------
    Another distribution adds a slide format by this in its pyproject.toml::

        [project.entry-points."napari_stenhance.section.images"]
        toy = "toy_slides:FORMAT"
    """
    found = []
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if packages and not module.ispkg:
            continue
        content = vars(importlib.import_module(f"{package}.{module.name}"))
        if attribute in content:
            found.append(content[attribute])
    for entry in sorted(entry_points(group=package), key=lambda entry: entry.name):
        try:
            found.append(entry.load())
        except Exception as error:  # noqa: BLE001 - one broken package must not take the others along
            warnings.warn(
                f"{entry.name} = {entry.value}, which adds to {package}, cannot be loaded "
                f"({error!r}): update the package that brings it, or uninstall it.",
                stacklevel=2,
            )
    return tuple(found)
