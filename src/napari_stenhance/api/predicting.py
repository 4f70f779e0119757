"""Verbs that predict: genes from slides, genes from single cells, domains from spots."""

from __future__ import annotations

from napari_stenhance.api.keywords import keywords
from napari_stenhance.api.result import Result
from napari_stenhance.running.job import Job
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.domains import DomainsOptions
from napari_stenhance.tasks.enhance import EnhanceOptions
from napari_stenhance.tasks.impute import ImputeOptions
from napari_stenhance.tasks.predict import PredictOptions


@keywords(EnhanceOptions, each=("predict", "sections"))
def enhance(options: EnhanceOptions, job: Job, cache: Cache) -> tuple[Result, ...]:
    """Learn gene expression from sections, and predict it over their slides, or over others.

    Returns
    -------
    Result or list of Result
        One for one slide, a list for a list: of `predict` if it is given, else of `sections`. A run
        that was stopped goes on; one that is complete is returned as it is.

    Raises
    ------
    InputError
        If an input or a keyword cannot be used, or something else lies at `out`.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled; tiles that were finished are kept.

    Examples
    --------
    >>> result = st.enhance("one.h5ad", out="new.stenhance.zarr", epochs=2, device="cpu")
    >>> result["G1"].sizes["y"], len(result.genes)
    (80, 40)
    """
    from napari_stenhance.tasks.enhance import enhance_runs

    return tuple(Result(run.result, run.name) for run in enhance_runs(options, job, cache))


@keywords(PredictOptions, each=("on",))
def predict(options: PredictOptions, job: Job, cache: Cache) -> tuple[Result, ...]:
    """Predict every gene of a model that has learned, on other slides.

    Returns
    -------
    Result or list of Result
        One for one slide, a list for a list.

    Raises
    ------
    InputError
        If an input or a keyword cannot be used, or the model learned from features of another
        encoder or pitch.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled; tiles that were finished are kept.

    Examples
    --------
    >>> other = st.predict("one.stenhance.zarr", "two.h5ad", device="cpu")
    >>> other.path.name
    'two.stenhance.zarr'
    """
    from napari_stenhance.tasks.predict import predict_runs

    return tuple(Result(run.result, run.name) for run in predict_runs(options, job, cache))


@keywords(ImputeOptions)
def impute(options: ImputeOptions, job: Job, cache: Cache) -> Result:
    """Predict genes that the spots did not measure, from single cells of the same kind of tissue.

    Returns
    -------
    Result
        Its genes are those of the table: `result["Shisa8"]` is the image of one,
        `result.to_anndata()` the table. A run that is complete is returned as it is.

    Raises
    ------
    InputError
        If an input or a keyword cannot be used, or something else lies at `out`.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> filled = st.impute("one.h5ad", "cells.h5ad", out="filled.stenhance.zarr", epochs=2)
    >>> "NEW0" in filled, int(filled.to_anndata().var["imputed"].sum())
    (True, 4)
    """
    from napari_stenhance.tasks.impute import impute as task

    run = task(options, job, cache)
    return Result(run.result, run.name)


@keywords(DomainsOptions, each=("sections",))
def domains(options: DomainsOptions, job: Job, cache: Cache) -> tuple[Result, ...]:
    """Find spatial domains of spots, or of the superpixels of a result.

    Returns
    -------
    Result or list of Result
        One for one section, a list for a list; several get the same domains. `labels` and
        `confidence` are those of the observations, `label_image` is the image.

    Raises
    ------
    InputError
        If an input or a keyword cannot be used, or something else lies at `out`.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> found = st.domains("one.h5ad", n_domains=3, runs=1, epochs=2, out="found.stenhance.zarr")
    >>> found.labels.cat.categories.tolist()
    ['Domain 1', 'Domain 2', 'Domain 3']
    """
    from napari_stenhance.tasks.domains import domains as task

    return tuple(Result(run.result, run.name) for run in task(options, job, cache))
