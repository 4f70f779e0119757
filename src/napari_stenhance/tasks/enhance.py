"""Learn gene expression from sections, and predict it on a grid over their slides or others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.running.device import DeviceName
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.learning import Crops, EncoderName, Epochs, Genes, Variant
from napari_stenhance.tasks.options import ClearDeadLocks, Help, Options

if TYPE_CHECKING:
    import torch

    from napari_stenhance.methods.protocol import Fitted, Method
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.sight import Sight


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
    method: Annotated[
        Literal["pixel2gene", "histosge", "spamcaf"],
        Help(
            "What learns: pixel2gene sees superpixels of 8 µm, histosge and spamcaf crops around "
            "positions."
        ),
    ] = "pixel2gene"
    predict: Annotated[
        tuple[Path, ...],
        Help("Predict on these slides instead of those learned from; only their image is used."),
    ] = ()
    genes: Genes = ""
    write: Annotated[
        str, Help("Genes to write as images: A,B,C or a file; any other can be shown later.")
    ] = ""
    region: Annotated[
        Path | None, Help("Predict only inside these polygons (GeoJSON).", unit="µm")
    ] = None
    encoder: EncoderName = "stain"
    crops: Crops = ""
    pitch: Annotated[
        float | None,
        Help(
            "Side of a superpixel of what histosge and spamcaf predict; by default a quarter of "
            "the spots' pitch.",
            unit="µm",
        ),
    ] = None
    lattice: Annotated[
        Literal[2, 3, 4] | None,
        Help(
            "Predict, with histosge or spamcaf, also between the spots of their array: 2, 3 or 4 "
            "points in each step."
        ),
    ] = None
    variant: Variant = "coded"
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
    epochs: Epochs = None
    mpp: Annotated[
        float | None, Help("Scale of the slides, where files do not say.", unit="µm per pixel")
    ] = None
    image: Annotated[
        Path | None, Help("The slide, where it does not lie beside the counts; for one section.")
    ] = None
    device: Annotated[DeviceName, Help("What computes.")] = "auto"
    seed: Annotated[int, Help("Fixes every random choice.")] = 0
    clear_dead_locks: ClearDeadLocks = False


def enhance(
    options: EnhanceOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[ResultFolder, ...]:
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
    tuple of ResultFolder
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
    from napari_stenhance.running.device import resolve_device
    from napari_stenhance.section.region import Region
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.kept_model import KeptModel
    from napari_stenhance.tasks.learning import make_learner, open_training, run_name
    from napari_stenhance.tasks.predicting import (
        Plan,
        note_doubts,
        open_for,
        predict_all,
        saved_model,
    )

    job, cache = job or Job(), cache or Cache.default()
    if not options.sections:
        msg = "enhance: name at least one section to learn from."
        raise InputError(msg)
    if options.image is not None and len(options.sections) > 1:
        msg = "One image is the slide of one section; put those of several beside their counts."
        raise InputError(msg, option="image")
    device = resolve_device(options.device)
    method = make_learner(options, options.seed, device)
    options = replace(options, genes=options.genes or method.genes)
    region = Region.given(options.region)
    write = named_genes(options.write) if options.write else ()
    training = [open_training(s, options.mpp, options.image, cache, job) for s in options.sections]
    sight = _sight(options, method, training, device, cache)
    _check_lattice(options, method, training)
    slides = [
        open_for(s, options.mpp, spots=False, slide=True, cache=cache, job=job)
        for s in options.predict
    ] or training
    measured = common_genes([(s.name, list(s.need_spots().var_names)) for s in training])
    if is_rule(options.genes):
        measured = without_controls(measured)
    else:
        chosen = named_genes(options.genes)
        require_genes(chosen, measured, "genes")
        measured = chosen
    require_genes(write, measured, "write")
    learned = _learning_identity(options, method, sight, training)
    kept = KeptModel.of(learned, cache)
    plan = Plan(
        name=run_name(options.method, options.encoder, options.preset, options.variant),
        sight=sight,
        identity={**learned, "region": region.to_json() if region else None},
        doubts=tuple(f"{s.name}: {d}" for s in training for d in s.doubts),
        seed=options.seed,
        region=region,
        write=write,
        lattice=options.lattice,
        clear_dead_locks=options.clear_dead_locks,
        keeping=kept,
    )
    fitted: list[Fitted] = []

    def model(result: ResultFolder, run: str) -> Fitted:
        """Learn once for all slides, and only if no result here has learned the same."""
        if not fitted:
            saved = saved_model(result, run, learned, device) or kept.load(device, job)
            if saved is None:
                saved = _fit(method, training, options, write, sight, job)
                result.log("trained", run=run)
            note_doubts(saved, job)
            fitted.append(saved)
        return fitted[0]

    return predict_all(slides, options.out, plan, model, job)


def _sight(
    options: EnhanceOptions,
    method: Method,
    training: list[Section],
    device: torch.device,
    cache: Cache,
) -> Sight:
    """Work out how the method sees slides.

    Raises
    ------
    InputError
        If a pitch is given that cannot be.
    """
    from napari_stenhance.tasks.learning import pitch_between
    from napari_stenhance.tasks.sight import Sight

    pitch = options.pitch
    if pitch is not None and not method.crops_um:
        msg = (
            f"Pitch {pitch:g}: {options.method} predicts on the superpixels of its encoder; "
            "leave it out, or choose histosge or spamcaf."
        )
        raise InputError(msg, option="pitch")
    if pitch is not None and not pitch > 0:
        msg = f"Pitch {pitch:g}: write a length in micrometres."
        raise InputError(msg, option="pitch")
    if method.crops_um and pitch is None:
        pitch = pitch_between(training)
    return Sight(options.encoder, options.tissue, device, cache, method.crops_um, pitch)


def _check_lattice(options: EnhanceOptions, method: Method, training: list[Section]) -> None:
    """Refuse a lattice before anything is computed, where there can be none.

    Raises
    ------
    InputError
        If the method or the spots have none, or other slides are predicted.
    """
    from napari_stenhance.section.lattice import SpotLattice

    s = options.lattice
    if s is None:
        return
    if not method.crops_um:
        msg = (
            f"Lattice {s}: {options.method} predicts superpixels only; leave it out, or choose "
            "histosge or spamcaf."
        )
        raise InputError(msg, option="lattice")
    if options.predict:
        msg = f"Lattice {s}: only the image of other slides is used, which has no spots; leave out "
        msg += "the lattice, or the other slides."
        raise InputError(msg, option="lattice")
    if s not in (2, 3, 4):
        msg = f"Lattice {s}: a step between spots can be divided into 2, 3 or 4."
        raise InputError(msg, option="lattice")
    for section in training:
        SpotLattice.of(section.need_spots(), section.where)


def _learning_identity(
    options: EnhanceOptions, method: Method, sight: Sight, training: list[Section]
) -> dict[str, Any]:
    """Return what decides the weights: two runs that agree on it share a model."""
    from napari_stenhance.features.registry import encoder_identity
    from napari_stenhance.methods.genes import is_rule, named_genes
    from napari_stenhance.methods.sample import counts_hash

    # Unnamed, the usual mask makes the same runs as before there was another.
    mask = {} if options.tissue == "density" else {"tissue": options.tissue}
    crops: dict[str, Any] = {}
    if sight.crops_um:
        crops = {"crops_um": list(sight.crops_um), "pitch_um": sight.pitch_um}
    variant = {} if options.variant == "coded" else {"variant": options.variant}
    return {
        "method": options.method,
        "preset": options.preset,
        "recipe": method.describe(),
        "encoder": encoder_identity(options.encoder),
        **mask,
        **crops,
        **variant,
        "genes": options.genes if is_rule(options.genes) else list(named_genes(options.genes)),
        "seed": options.seed,
        "learned_from": [
            {
                "name": s.name,
                "slide_sha256": s.need_slide().sha256,
                "mpp": s.need_slide().scale(),
                "spots_sha256": counts_hash(s),
                **({} if s.library is None else {"imputed": True}),
            }
            for s in training
        ],
    }


def _fit(
    method: Method,
    training: list[Section],
    options: EnhanceOptions,
    write: tuple[str, ...],
    sight: Sight,
    job: Job,
) -> Fitted:
    """Extract features under the spots of every section, and learn from them together."""
    from napari_stenhance.methods.genes import (
        choose_genes,
        common_genes,
        is_rule,
        without_controls,
    )
    from napari_stenhance.results.lattice import check_size
    from napari_stenhance.tasks.learning import take_sample

    samples = [take_sample(s, sight, method, job) for s in training]
    genes = choose_genes(options.genes, samples)
    if options.lattice is not None:
        for sample in samples:
            check_size(options.lattice**2 * len(sample.xy_um), len(genes), job)
    lost = [gene for gene in write if gene not in genes]
    if lost:
        msg = f"{', '.join(lost[:5])}: not chosen by the genes {options.genes}; add it there."
        raise InputError(msg, option="genes")
    shared = common_genes([(s.name, s.genes) for s in samples])
    dropped = max(len(s.genes) for s in samples) - len(shared)
    if dropped:
        job.note(f"{dropped} genes that not every section measured are not modelled.")
    controls = len(shared) - len(without_controls(shared))
    if controls and is_rule(options.genes):
        job.note(f"{controls} control features (blanks, negative controls …) are not modelled.")
    return method.fit(samples, genes, job)
