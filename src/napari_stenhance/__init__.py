"""Spatial gene expression predicted from H&E slides.

Everything public is imported when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_stenhance.errors import Cancelled, InferenceError, InputError, StenhanceError
    from napari_stenhance.methods.field import GeneField
    from napari_stenhance.results.domain_edit import DomainEdit
    from napari_stenhance.results.domains import DomainRun, domain_run, domain_runs
    from napari_stenhance.results.imputed import ImputedRun, imputed_run, imputed_runs
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.section.phantom.phantom import Phantom
    from napari_stenhance.section.region import Region
    from napari_stenhance.section.section import Section, open_section
    from napari_stenhance.section.slide import Slide
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.compare import CompareOptions, compare
    from napari_stenhance.tasks.convert import ConvertOptions, convert
    from napari_stenhance.tasks.demo import DemoOptions, demo
    from napari_stenhance.tasks.domains import DomainsOptions, domains
    from napari_stenhance.tasks.downsample import DownsampleOptions, downsample
    from napari_stenhance.tasks.edit_domains import EditDomainsOptions, edit_domains
    from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
    from napari_stenhance.tasks.evaluate import EvaluateOptions, evaluate
    from napari_stenhance.tasks.export import ExportOptions, export
    from napari_stenhance.tasks.impute import ImputeOptions, impute
    from napari_stenhance.tasks.info import InfoOptions, info
    from napari_stenhance.tasks.phantom import PhantomOptions, phantom
    from napari_stenhance.tasks.predict import PredictOptions, predict
    from napari_stenhance.tasks.write import WriteOptions, write

__all__ = [
    "Cache",
    "Cancelled",
    "CompareOptions",
    "ConvertOptions",
    "DemoOptions",
    "DomainEdit",
    "DomainRun",
    "DomainsOptions",
    "DownsampleOptions",
    "EditDomainsOptions",
    "EnhanceOptions",
    "EvaluateOptions",
    "ExportOptions",
    "GeneField",
    "Grid",
    "ImputeOptions",
    "ImputedRun",
    "InferenceError",
    "InfoOptions",
    "InputError",
    "Job",
    "Phantom",
    "PhantomOptions",
    "PredictOptions",
    "Region",
    "ResultFolder",
    "Section",
    "Slide",
    "StenhanceError",
    "WriteOptions",
    "compare",
    "convert",
    "demo",
    "domain_run",
    "domain_runs",
    "domains",
    "downsample",
    "edit_domains",
    "enhance",
    "evaluate",
    "export",
    "impute",
    "imputed_run",
    "imputed_runs",
    "info",
    "open_section",
    "phantom",
    "predict",
    "write",
]

_HOMES = {
    "errors": ("Cancelled", "InferenceError", "InputError", "StenhanceError"),
    "methods.field": ("GeneField",),
    "results.domain_edit": ("DomainEdit",),
    "results.domains": ("DomainRun", "domain_run", "domain_runs"),
    "results.imputed": ("ImputedRun", "imputed_run", "imputed_runs"),
    "results.result": ("ResultFolder",),
    "running.job": ("Job",),
    "section.grid": ("Grid",),
    "section.phantom.phantom": ("Phantom",),
    "section.region": ("Region",),
    "section.section": ("Section", "open_section"),
    "section.slide": ("Slide",),
    "storage.cache": ("Cache",),
    "tasks.compare": ("CompareOptions", "compare"),
    "tasks.convert": ("ConvertOptions", "convert"),
    "tasks.demo": ("DemoOptions", "demo"),
    "tasks.downsample": ("DownsampleOptions", "downsample"),
    "tasks.domains": ("DomainsOptions", "domains"),
    "tasks.edit_domains": ("EditDomainsOptions", "edit_domains"),
    "tasks.enhance": ("EnhanceOptions", "enhance"),
    "tasks.evaluate": ("EvaluateOptions", "evaluate"),
    "tasks.export": ("ExportOptions", "export"),
    "tasks.impute": ("ImputeOptions", "impute"),
    "tasks.info": ("InfoOptions", "info"),
    "tasks.phantom": ("PhantomOptions", "phantom"),
    "tasks.predict": ("PredictOptions", "predict"),
    "tasks.write": ("WriteOptions", "write"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
