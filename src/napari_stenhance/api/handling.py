"""Verbs around predictions: change, write, judge, describe, and make what there is to try."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.api.keywords import keywords
from napari_stenhance.api.result import Result
from napari_stenhance.phantoms.phantom import Phantom
from napari_stenhance.running.job import Job
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.align import Alignments, AlignOptions
from napari_stenhance.tasks.compare import Compared, CompareOptions
from napari_stenhance.tasks.convert import ConvertOptions
from napari_stenhance.tasks.demo import DemoDone, DemoOptions
from napari_stenhance.tasks.doctor import Diagnosis, DoctorOptions
from napari_stenhance.tasks.downsample import DownsampleOptions
from napari_stenhance.tasks.edit_domains import EditDomainsOptions
from napari_stenhance.tasks.evaluate_options import EvaluateOptions
from napari_stenhance.tasks.evaluation import Evaluation
from napari_stenhance.tasks.export import ExportOptions
from napari_stenhance.tasks.info import InfoOptions
from napari_stenhance.tasks.phantom import PhantomOptions
from napari_stenhance.tasks.weights import EncoderWeights, WeightsOptions
from napari_stenhance.tasks.write import WriteOptions


@keywords(EditDomainsOptions)
def edit_domains(options: EditDomainsOptions, job: Job, cache: Cache) -> Result:
    """Rename, merge, hide or recolour domains, as a run beside the one they are of.

    Returns
    -------
    Result
        With the edited domains; the computed ones stay as they are.

    Raises
    ------
    InputError
        If there is no such domain, or another process is writing this result.

    Examples
    --------
    >>> edited = st.edit_domains("found.stenhance.zarr", rename="1=White matter")
    >>> edited.label_image.attrs["domains"][1]
    'White matter'
    """
    from napari_stenhance.tasks.edit_domains import edit_domains as task

    run = task(options, job)
    return Result(run.result, run.name)


@keywords(WriteOptions)
def write(options: WriteOptions, job: Job, cache: Cache) -> Result:
    """Write genes of a result as OME-Zarr images, which other viewers open too.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If a gene is not there, or another process is writing this result.
    Cancelled
        If the job was cancelled; tiles that were finished are kept.

    Examples
    --------
    >>> written = st.write("one.stenhance.zarr", "G1")
    >>> next(written.path.rglob("G1")).is_dir()
    True
    """
    from napari_stenhance.tasks.write import write as task

    return Result(task(options, job), options.run)


@keywords(ExportOptions)
def export(options: ExportOptions, job: Job, cache: Cache) -> Path:
    """Write predictions to a file: at spots or superpixels, as a table or images; or a slide.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If an input or a keyword cannot be used, or `out` exists.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> ad.read_h5ad(st.export("one.stenhance.zarr", "spots.h5ad", at_spots="one.h5ad")).n_vars
    40
    >>> st.export("one.stenhance.zarr", "G1.ome.tif", to="ome-tiff", genes="G1").name
    'G1.ome.tif'
    """
    from napari_stenhance.tasks.export import export as task

    return task(options, job, cache)


@keywords(ConvertOptions)
def convert(options: ConvertOptions, job: Job, cache: Cache) -> Path:
    """Write a section as a folder of prefix files, which the published programs read.

    Returns
    -------
    Path
        The folder made.

    Raises
    ------
    InputError
        If an input or a keyword cannot be used, or `out` exists.
    Cancelled
        If the job was cancelled; nothing is left behind.

    Examples
    --------
    >>> sorted(file.name for file in st.convert("one.h5ad", "prefix").iterdir())[0]
    'cnts.tsv'
    """
    from napari_stenhance.tasks.convert import convert as task

    return task(options, job, cache)


@keywords(DownsampleOptions)
def downsample(options: DownsampleOptions, job: Job, cache: Cache) -> Path:
    """Thin the counts of a section, as a shallower experiment would have.

    Returns
    -------
    Path
        The `.h5ad` written.

    Raises
    ------
    InputError
        If the section or a keyword cannot be used, or `out` exists.

    Examples
    --------
    >>> thin = ad.read_h5ad(st.downsample("one.h5ad", "thin.h5ad", mean=0.1))
    >>> bool(thin.X.sum() < 0.2 * ad.read_h5ad("one.h5ad").X.sum())
    True
    """
    from napari_stenhance.tasks.downsample import downsample as task

    return task(options, job, cache)


@keywords(CompareOptions)
def compare(options: CompareOptions, job: Job, cache: Cache) -> tuple[Compared, ...]:
    """Compare the predictions of a result with counts that it did not learn from.

    Returns
    -------
    tuple of Compared
        Of the thinned counts, if `measured` is given, and of the prediction: `scores` holds one
        value for each gene of every measure, `medians()` their medians.

    Raises
    ------
    InputError
        If an input or a keyword cannot be used, or they do not belong together.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> (enhanced,) = st.compare("one.stenhance.zarr", truth="one.h5ad", genes="G1,G2")
    >>> enhanced.genes
    ('G1', 'G2')
    """
    from napari_stenhance.tasks.compare import compare as task

    return task(options, job, cache)


@keywords(EvaluateOptions)
def evaluate(options: EvaluateOptions, job: Job, cache: Cache) -> Evaluation:
    """Score a method on a section: domains, genes of spots, or whole genes, that it did not see.

    Returns
    -------
    Evaluation
        A sequence of `Score`: for each seed, of the method and of what it must beat; `values` holds
        name and value of each measure, `of_genes` and `of_spots` those of each gene and hidden
        spot. `protocol` says how they came to be, `summaries` has means and spread over seeds.
        Parts that were finished are kept in the cache: the same call goes on after them.

    Raises
    ------
    InputError
        If the section or a keyword cannot be used.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> (score,) = st.evaluate("one.h5ad", n_domains=2, runs=1, epochs=2, device="cpu")
    >>> score.n_domains
    2
    """
    from napari_stenhance.tasks.evaluate import evaluate as task

    return task(options, job, cache)


@keywords(InfoOptions)
def info(options: InfoOptions, job: Job, cache: Cache) -> tuple[str, ...]:
    """Say in words what a section, a slide or a result is, and every doubt about it.

    Returns
    -------
    tuple of str
        One fact or doubt each.

    Raises
    ------
    InputError
        If nothing is there, or it is not recognised.

    Examples
    --------
    >>> st.info("one.h5ad")[0]
    'Section one'
    """
    from napari_stenhance.tasks.info import info as task

    return task(options, job, cache)


@keywords(WeightsOptions)
def weights(options: WeightsOptions, job: Job, cache: Cache) -> tuple[EncoderWeights, ...]:
    """List encoders, those on this machine first; or fetch the weights of one.

    Weights go to the cache of Hugging Face, which says where it is and who is signed in. They are
    never fetched otherwise; what came of a fetch that broke off is gone on from.

    Returns
    -------
    tuple of EncoderWeights
        Of each its name, whether it is here, its licence, whether access to it must be asked for,
        its size and its web page.

    Raises
    ------
    StenhanceError
        If Hugging Face cannot be reached, or grants no access; if the disk is full.
    InputError
        If there is no such encoder.
    Cancelled
        If the job was cancelled; what came is kept.

    Examples
    --------
    >>> (uni,) = st.weights("uni")
    >>> uni.licence
    'CC-BY-NC-ND-4.0'
    """
    from napari_stenhance.tasks.weights import weights as task

    return task(options, job)


@keywords(PhantomOptions)
def phantom(options: PhantomOptions, job: Job, cache: Cache) -> Phantom:
    """Make a synthetic section: H&E, spots, bins, cells, a reference, and the truth.

    Returns
    -------
    Phantom
        `folder` is a section; `expression` is the truth.

    Raises
    ------
    InputError
        If a keyword is out of range, or something else lies at `out`.
    Cancelled
        If the job was cancelled; nothing is left behind.

    Examples
    --------
    >>> made = st.phantom("made", size_mm=1)
    >>> st.read(made.folder).mpp
    0.5
    """
    from napari_stenhance.tasks.phantom import phantom as task

    return task(options, job)


@keywords(DemoOptions)
def demo(options: DemoOptions, job: Job, cache: Cache) -> DemoDone:
    """Make a phantom, predict its genes, and compare with the known truth.

    Returns
    -------
    DemoDone
        Where both lie, and the scores.

    Raises
    ------
    InputError
        If a keyword is out of range, or something else lies at `out`.
    StenhanceError
        If genes that follow nothing were 'predicted'.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled; what was finished is kept.
    """
    from napari_stenhance.tasks.demo import demo as task

    return task(options, job, cache)


@keywords(DoctorOptions)
def doctor(options: DoctorOptions, job: Job, cache: Cache) -> Diagnosis:
    """Tell whether spots lie where they belong on their slide, or fit better in another way.

    Tried are the flips and turns of the slide, x and y exchanged, half and twice the scale, and
    shifts of up to a millimetre. Evidence is how many spots lie on tissue, and how well the colours
    of the stain under them predict their depth and expression, on parts that were left out: a way
    is named only where both say so, and clearly. Nothing is changed.

    Returns
    -------
    Diagnosis
        `is_well`, `said`, and in `placement` all ways with `on_tissue` and `r`.

    Raises
    ------
    InputError
        If there are no spots, no slide, no scale or no tissue.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> st.doctor("one.h5ad").placement.stated.way.name
    'as stated'
    """
    from napari_stenhance.tasks.doctor import doctor as task

    return task(options, job, cache)


@keywords(AlignOptions)
def align(options: AlignOptions, job: Job, cache: Cache) -> Alignments:
    """Lay serial sections over one another, by the outline of their tissue and by its stain.

    Each is turned and moved, and mirrored where that is clearly better; nothing is stretched. What
    spots measured is not looked at, so that it can say how good the fit is: how alike spots are
    that then lie nearest to each other. Nothing is changed.

    Returns
    -------
    Alignments
        For each section, in `sections`, the best way with its evidence, `is_clear`, `said`, and the
        matrix in micrometres.

    Raises
    ------
    InputError
        If a section has no slide, no scale or no tissue.
    Cancelled
        If the job was cancelled.

    Examples
    --------
    >>> laid = st.align("one.h5ad", "one.h5ad").sections[0]
    >>> laid.is_clear, round(laid.alignment.best.overlap, 2)
    (True, 1.0)
    """
    from napari_stenhance.tasks.align import align as task

    return task(options, job, cache)
