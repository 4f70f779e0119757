"""Learn gene expression from sections, and predict it on a grid over their slides or others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.running.device import DeviceName
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import Help, Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.methods.protocol import Fitted, Method
    from napari_stenhance.methods.sample import Sample
    from napari_stenhance.results.result import Result
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache


# x and y are taken to be swapped if fewer spots lie on tissue, and with them swapped far more.
_SWAPPED_MOST = 0.8
_SWAPPED_GAIN = 1.3


@dataclass(frozen=True)
class EnhanceOptions(Options):
    """Options of `enhance`; sections may also be `Section` objects, the region a `Region`."""

    sections: Annotated[
        tuple[Path, ...],
        Help("Sections to learn from: a folder or an .h5ad with its image.", positional=True),
    ]
    out: Annotated[
        Path,
        Help("The result folder (C2.stenhance.zarr); for several slides, a folder of results."),
    ]
    method: Annotated[Literal["pixel2gene"], Help("What learns.")] = "pixel2gene"
    predict: Annotated[
        tuple[Path, ...],
        Help("Predict on these slides instead of those learned from; only their image is used."),
    ] = ()
    genes: Annotated[
        str,
        Help(
            "Genes to model: all, hvg:N (most variable), heg:N (most counted), var:N (as iStar), "
            "A,B,C or a file with one on each line; by default all, or what the preset says."
        ),
    ] = ""
    write: Annotated[
        str, Help("Genes to write as images: A,B,C or a file; any other can be shown later.")
    ] = ""
    region: Annotated[
        Path | None, Help("Predict only inside these polygons (GeoJSON).", unit="µm")
    ] = None
    encoder: Annotated[Literal["stain"], Help("What turns tissue into features.")] = "stain"
    tissue: Annotated[Literal["density", "histosweep"], Help("How tissue is told from glass.")] = (
        "density"
    )
    preset: Annotated[
        Literal["robust", "reference", "istar"],
        Help(
            "How the method is trained: robust predicts held-out data best; reference and istar "
            "follow the published recipes, and keep at most 3,000 genes."
        ),
    ] = "robust"
    epochs: Annotated[
        int | None,
        Help("Train so long, robust at most; by default as the preset says: 100, 600 or 400."),
    ] = None
    mpp: Annotated[
        float | None, Help("Scale of the slides, where files do not say.", unit="µm per pixel")
    ] = None
    image: Annotated[
        Path | None, Help("The slide, where it does not lie beside the counts; for one section.")
    ] = None
    device: Annotated[DeviceName, Help("What computes.")] = "auto"
    seed: Annotated[int, Help("Fixes every random choice.")] = 0


def enhance(
    options: EnhanceOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[Result, ...]:
    """Learn from sections and predict every gene on a grid.

    Parameters
    ----------
    options : EnhanceOptions
    job : Job, optional
        Receives progress, notes and finished tiles; cancels.
    cache : Cache, optional
        Where pyramids and features lie; by default the user's.

    Returns
    -------
    tuple of Result
        One for each slide in `options.predict`, or else for each section. A run that was stopped
        goes on; one that is complete is returned as it is.

    Raises
    ------
    InputError
        If an input or an option cannot be used.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled; finished tiles are kept.
    """
    from napari_stenhance.methods.genes import (
        common_genes,
        is_rule,
        named_genes,
        require_genes,
        without_controls,
    )
    from napari_stenhance.methods.registry import make_method
    from napari_stenhance.running.device import resolve_device
    from napari_stenhance.section.region import Region
    from napari_stenhance.section.spots import check_raw
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.predicting import (
        Plan,
        open_for,
        predict_all,
        saved_model,
    )

    job, cache = job or Job(), cache or Cache.default()
    if not options.sections:
        msg = "enhance: name at least one section to learn from."
        raise InputError(msg)
    if options.image is not None and len(options.sections) > 1:
        msg = "--image is the slide of one section; put the slides of several beside their counts."
        raise InputError(msg)
    device = resolve_device(options.device)
    method = make_method(
        options.method, options.preset, options.encoder, options.epochs, options.seed, device
    )
    options = replace(options, genes=options.genes or method.genes)
    region = Region.given(options.region)
    write = named_genes(options.write) if options.write else ()
    training = [
        open_for(s, options.mpp, image=options.image, spots=True, slide=True, cache=cache, job=job)
        for s in options.sections
    ]
    for section in training:
        check_raw(section.need_spots(), section.where)
    slides = [
        open_for(s, options.mpp, spots=False, slide=True, cache=cache, job=job)
        for s in options.predict
    ] or training
    measured = common_genes([(s.name, list(s.need_spots().var_names)) for s in training])
    if is_rule(options.genes):
        measured = without_controls(measured)
    else:
        chosen = named_genes(options.genes)
        require_genes(chosen, measured, "--genes")
        measured = chosen
    require_genes(write, measured, "--write")
    learned = _learning_identity(options, method, training)
    plan = Plan(
        name=f"{options.method}-{options.encoder}-{options.preset}",
        encoder=options.encoder,
        tissue=options.tissue,
        identity={**learned, "region": region.to_json() if region else None},
        doubts=tuple(f"{s.name}: {d}" for s in training for d in s.doubts),
        seed=options.seed,
        region=region,
        write=write,
        device=device,
        cache=cache,
    )
    fitted: list[Fitted] = []

    def model(result: Result, run: str) -> Fitted:
        """Learn once for all slides, and only if no result here has learned the same."""
        if not fitted:
            saved = saved_model(result, run, learned, device)
            if saved is None:
                saved = _fit(method, training, options, write, cache, job)
                result.log("trained", run=run)
            fitted.append(saved)
        return fitted[0]

    return predict_all(slides, options.out, plan, model, job)


def _learning_identity(
    options: EnhanceOptions, method: Method, training: list[Section]
) -> dict[str, Any]:
    """Return what decides the weights: two runs that agree on it share a model."""
    from napari_stenhance.features.registry import encoder_identity
    from napari_stenhance.methods.genes import is_rule, named_genes
    from napari_stenhance.methods.sample import counts_hash

    # Unnamed, the usual mask makes the same runs as before there was another.
    mask = {} if options.tissue == "density" else {"tissue": options.tissue}
    return {
        "method": options.method,
        "preset": options.preset,
        "recipe": method.describe(),
        "encoder": encoder_identity(options.encoder),
        **mask,
        "genes": options.genes if is_rule(options.genes) else list(named_genes(options.genes)),
        "seed": options.seed,
        "learned_from": [
            {
                "name": s.name,
                "slide_sha256": s.need_slide().sha256,
                "mpp": s.need_slide().scale(),
                "spots_sha256": counts_hash(s),
            }
            for s in training
        ],
    }


def _fit(
    method: Method,
    training: list[Section],
    options: EnhanceOptions,
    write: tuple[str, ...],
    cache: Cache,
    job: Job,
) -> Fitted:
    """Extract features under the spots of every section, and learn from them together."""
    from napari_stenhance.methods.genes import (
        choose_genes,
        common_genes,
        is_rule,
        without_controls,
    )

    samples = [_sample(s, options, method, cache, job) for s in training]
    genes = choose_genes(options.genes, samples)
    lost = [gene for gene in write if gene not in genes]
    if lost:
        msg = f"--write: {', '.join(lost[:5])} not chosen by --genes {options.genes}; add it there."
        raise InputError(msg)
    shared = common_genes([(s.name, s.genes) for s in samples])
    dropped = max(len(s.genes) for s in samples) - len(shared)
    if dropped:
        job.note(f"{dropped} genes that not every section measured are not modelled.")
    controls = len(shared) - len(without_controls(shared))
    if controls and is_rule(options.genes):
        job.note(f"{controls} control features (blanks, negative controls …) are not modelled.")
    return method.fit(samples, genes, job)


def _sample(
    section: Section,
    options: EnhanceOptions,
    method: Method,
    cache: Cache,
    job: Job,
) -> Sample[Any]:
    """Extract the features that a method needs to learn from the spots of a section."""
    import math

    import numpy as np

    from napari_stenhance.features.extract import extract, find_tissue
    from napari_stenhance.features.registry import make_encoder
    from napari_stenhance.methods.sample import Sample
    from napari_stenhance.section.footprint import Footprints
    from napari_stenhance.section.grid import Grid

    slide, xy_um, geometry = section.need_slide(), section.spots_um(), section.geometry()
    encoder = make_encoder(options.encoder, slide)
    for doubt in encoder.doubts():
        job.note(f"{section.name}: {doubt}")
    grid = Grid.over(slide, encoder.pitch_um)
    mask = find_tissue(slide, encoder, job, cache=cache, tissue=options.tissue)
    _check_order(section, grid, mask)
    under = Footprints.under(grid, xy_um, geometry, np.ones(grid.shape, dtype=bool))
    whole = math.isinf(method.halo_um)
    near = None if whole else under.mask(grid.shape, round(method.halo_um / grid.pitch_um))
    features = extract(slide, encoder, job, cache=cache, needed=near, tissue=options.tissue)
    on_tissue = Footprints.under(grid, xy_um, geometry, mask)
    sample = Sample.of(section, features, on_tissue, method.least_share)
    lost = len(xy_um) - len(sample.xy_um)
    if lost:
        job.note(f"{section.name}: {lost} spots off the tissue, or nearly empty, were left out.")
    return sample


def _check_order(section: Section, grid: Grid, tissue: NDArray[np.bool_]) -> None:
    """Refuse coordinates that meet the tissue only with x and y swapped.

    Raises
    ------
    InputError
        If far fewer spots lie on tissue than would if they were.
    """
    import numpy as np

    at = np.rint(grid.position(section.spots_um())).astype(int)

    def on_tissue(at: NDArray[np.int_]) -> float:
        inside = ((at >= 0) & (at < tissue.shape)).all(axis=1)
        return float(tissue[tuple(at[inside].T)].sum() / len(at))

    as_given, swapped = on_tissue(at), on_tissue(at[:, ::-1])
    if as_given < _SWAPPED_MOST and swapped > _SWAPPED_GAIN * as_given:
        msg = (
            f"{section.where}: {as_given:.0%} of the spots lie on tissue, and "
            f"with x and y swapped {swapped:.0%} would; coordinates must be (x, y)."
        )
        raise InputError(msg)
