"""Spatial gene expression predicted from H&E slides.

Everything public is imported when it is first used, so that importing the package costs nothing.
"""

import importlib
from typing import Any

_HOMES = {
    "api.handling": (
        "align",
        "compare",
        "convert",
        "demo",
        "doctor",
        "downsample",
        "edit_domains",
        "evaluate",
        "export",
        "info",
        "phantom",
        "weights",
        "write",
    ),
    "api.model": ("Model", "train"),
    "api.predicting": ("domains", "enhance", "impute", "predict"),
    "api.read": ("read",),
    "api.result": ("Result",),
    "api.summarising": ("summarise",),
    "api.showing": ("figure", "script"),
    "errors": ("Cancelled", "InferenceError", "InputError", "StenhanceError"),
    "phantoms.phantom": ("Phantom",),
    "running.job": ("Job",),
    "section.grid": ("Grid",),
    "section.named_regions": ("NamedRegions",),
    "section.region": ("Region",),
    "section.registration": ("Registration",),
    "section.section": ("Section",),
    "section.slide": ("Slide",),
    "storage.cache": ("Cache",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        if name[0] != "_":
            added = importlib.import_module(f"{__name__}.api.added").added_verb(name)
            if added is not None:
                return added
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    # What completion offers: not what this module imports for itself.
    return sorted([*(name for name in globals() if name.startswith("__")), *__all__])
