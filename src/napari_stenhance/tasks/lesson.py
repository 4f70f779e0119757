"""What a method is to learn, and from what: shared by the verbs `enhance` and `train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted

if TYPE_CHECKING:
    import torch

    from napari_stenhance.features.source import FeatureSettings
    from napari_stenhance.methods.protocol import Fitted, Method
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

_PITCH_MOST_UM = 10_000.0


@dataclass(frozen=True)
class Lesson:
    """A method, the sections that it learns from, and how it sees their slides.

    Attributes
    ----------
    method : Method
    sections : tuple of Section
        Open, with slide, scale and counts.
    features : FeatureSettings
    genes : tuple of str
        The rule that chooses genes, or their names; see `choose_genes`.
    measured : tuple of str
        Genes that may be modelled.
    measured_where : str
        What these are, for sentences.
    identity : dict
        What decides the weights: two runs that agree on it share a model.
    aliases : mapping of str to str
        Which gene each id, or symbol, means that the sections have beside their names.
    """

    method: Method
    sections: tuple[Section, ...]
    features: FeatureSettings
    genes: tuple[str, ...]
    measured: tuple[str, ...]
    measured_where: str
    identity: dict[str, Any]
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What was guessed or left out when the sections were opened."""
        return tuple(f"{s.name}: {d}" for s in self.sections for d in s.doubts)

    def fit(self, job: Job, write: Sequence[str] = (), lattice: int | None = None) -> Fitted:
        """Extract features under the spots of every section, and learn from them together.

        Parameters
        ----------
        job : Job
        write : sequence of str
            Genes that the rule must choose.
        lattice : int or None
            Refuse early so many parts of the steps between spots, if their table is too large.

        Raises
        ------
        InputError
            If the rule does not choose a gene that is wanted, or the lattice is too large.
        """
        from napari_stenhance.methods.genes import (
            choose_genes,
            common_genes,
            rule_of,
            without_controls,
        )
        from napari_stenhance.results.tables import check_size
        from napari_stenhance.tasks.training import take_sample

        samples = [take_sample(s, self.features, self.method, job) for s in self.sections]
        genes = choose_genes(self.genes, samples)
        if lattice is not None:
            for sample in samples:
                check_size(lattice**2 * len(sample.xy_um), len(genes), job)
        lost = [gene for gene in write if gene not in genes]
        if lost:
            msg = f"{', '.join(lost[:5])}: not chosen by {self.genes[0]}; choose more genes."
            raise InputError(msg, option="genes")
        shared = common_genes([(s.name, s.genes) for s in samples])
        dropped = max(len(s.genes) for s in samples) - len(shared)
        if dropped:
            job.note(
                f"{counted(dropped, 'gene')} that not every section measured "
                f"{agree(dropped, 'is', 'are')} not modelled."
            )
        controls = len(shared) - len(without_controls(shared))
        if controls and rule_of(self.genes):
            job.note(
                f"{counted(controls, 'control feature')} (blanks, negative controls …) "
                f"{agree(controls, 'is', 'are')} not modelled."
            )
        fitted = self.method.fit(samples, genes, job)
        called = {gene: other for other, gene in self.aliases.items()}
        others = tuple(called.get(gene, "") for gene in genes) if called else ()
        if others:
            fitted = copy(fitted)
            # Frozen, but made here and seen by nobody yet.
            decoder = replace(fitted.decoder, other_names=others)
            object.__setattr__(fitted, "decoder", decoder)
        return fitted


def open_lesson(options: Any, job: Job, cache: Cache) -> Lesson:
    """Open what options name that have a field for each thing to learn.

    Raises
    ------
    InputError
        If a section or an option cannot be used.
    """
    from napari_stenhance.methods.genes import (
        EVERYWHERE,
        common_genes,
        named_genes,
        rule_of,
        without_controls,
    )
    from napari_stenhance.methods.registry import make_method
    from napari_stenhance.running.device import resolve_device
    from napari_stenhance.section.gene_names import aliases_in
    from napari_stenhance.tasks.given_tissue import need_one_slide
    from napari_stenhance.tasks.training import open_training

    if not options.sections:
        msg = "Name at least one section to learn from."
        raise InputError(msg)
    options.check_alone(options.sections, options.image)
    need_one_slide(options.tissue, (*options.sections, *getattr(options, "predict", ())))
    device = resolve_device(options.device)
    method = make_method(options, options.seed, device)
    rule = rule_of(options.genes or method.genes)
    sections = tuple(open_training(s, options, options.image, cache, job) for s in options.sections)
    features = _features(options, method, sections, device, cache)
    measured = common_genes([(s.name, list(s.need_spots().var_names)) for s in sections])
    aliases: dict[str, str] = {}
    for section in sections:
        aliases |= aliases_in(section.need_spots().var)
    if rule is None:
        genes = named_genes(options.genes, measured, EVERYWHERE, aliases=aliases)
        where = "the genes to model"
        measured = genes
    else:
        genes, where = (rule,), f"{EVERYWHERE} (control features apart)"
        measured = without_controls(measured)
    # A file of genes is read once: what it says now, this run models.
    options = replace(options, genes=genes)
    identity = _identity(options, method, features, sections)
    return Lesson(method, sections, features, genes, measured, where, identity, aliases)


def _features(
    options: Any,
    method: Method,
    training: Sequence[Section],
    device: torch.device,
    cache: Cache,
) -> FeatureSettings:
    """Work out how the method sees slides.

    Raises
    ------
    InputError
        If a pitch is given that cannot be.
    """
    from napari_stenhance.features.registry import find_encoder
    from napari_stenhance.features.source import CropLayout, FeatureSettings
    from napari_stenhance.tasks.given_tissue import tissue_kind
    from napari_stenhance.tasks.training import pitch_between

    pitch, crops = options.pitch, None
    if pitch is not None and not 0 < pitch <= _PITCH_MOST_UM:
        msg = (
            f"Pitch {pitch:g}: write a length in micrometres, above 0 and at most "
            f"{_PITCH_MOST_UM:g}."
        )
        raise InputError(msg, option="pitch")
    if method.crops_um is not None:
        crops = CropLayout(method.crops_um, pitch or pitch_between(training))
    return FeatureSettings(
        find_encoder(options.encoder),
        device,
        cache,
        tissue_kind(options.tissue),
        crops,
        options.quality,
        or_cpu=options.device == "auto",
    )


def _identity(
    options: Any, method: Method, features: FeatureSettings, training: Sequence[Section]
) -> dict[str, Any]:
    """Return what decides the weights: two runs that agree on it share a model."""
    from napari_stenhance.features.quality import VERSION
    from napari_stenhance.methods.genes import rule_of
    from napari_stenhance.methods.training_section import input_identity

    # Unnamed, the usual mask makes the same runs as before there was another.
    kind = features.tissue
    mask = {} if kind == "density" else {"tissue": kind}
    quality = {"quality": VERSION} if options.quality else {}
    crops: dict[str, Any] = {}
    if features.crops is not None:
        sizes, pitch = features.crops.sizes_um, features.crops.pitch_um
        crops = {"crops_um": list(sizes), "pitch_um": pitch}
    return {
        "method": options.method,
        "preset": options.preset,
        "recipe": method.describe(),
        "encoder": features.encoder.identity(),
        **mask,
        **quality,
        **crops,
        "genes": rule_of(options.genes) or list(options.genes),
        "seed": options.seed,
        "learned_from": [
            {**input_identity(s), **({} if s.library is None else {"imputed": True})}
            for s in training
        ],
    }
