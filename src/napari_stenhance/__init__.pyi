# Made by scripts/write_stub.py of the options of the tasks; a test compares.
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

from anndata import AnnData
from numpy import ndarray
from pandas import DataFrame

from napari_stenhance.api.model import Model as Model
from napari_stenhance.api.read import read as read
from napari_stenhance.api.result import Result as Result
from napari_stenhance.errors import Cancelled as Cancelled
from napari_stenhance.errors import InferenceError as InferenceError
from napari_stenhance.errors import InputError as InputError
from napari_stenhance.errors import StenhanceError as StenhanceError
from napari_stenhance.phantoms.phantom import Phantom as Phantom
from napari_stenhance.running.job import Job as Job
from napari_stenhance.section.grid import Grid as Grid
from napari_stenhance.section.named_regions import NamedRegions as NamedRegions
from napari_stenhance.section.region import Region as Region
from napari_stenhance.section.registration import Registration as Registration
from napari_stenhance.section.section import Section as Section
from napari_stenhance.section.slide import Slide as Slide
from napari_stenhance.storage.cache import Cache as Cache
from napari_stenhance.tasks.align import Alignments
from napari_stenhance.tasks.compare import Compared
from napari_stenhance.tasks.demo import DemoDone
from napari_stenhance.tasks.doctor import Diagnosis
from napari_stenhance.tasks.evaluation import Evaluation
from napari_stenhance.tasks.evaluation import Score
from napari_stenhance.tasks.weights import EncoderWeights

def align(
    reference: str | Path | Section | AnnData,
    sections: str | Path | Section | AnnData | Sequence[str | Path | Section | AnnData],
    *,
    json: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Alignments:
    """Lay serial sections over one another, by the outline of their tissue and by its stain."""
def compare(
    result: str | Path | Result,
    truth: str | Path | Section | AnnData,
    *,
    measured: str | Path | Section | AnnData | None = None,
    genes: str | Sequence[str] = (),
    all_spots: bool = False,
    run: str = '',
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> tuple[Compared, ...]:
    """Compare the predictions of a result with counts that it did not learn from."""
def convert(
    section: str | Path | Section | AnnData,
    out: str | Path,
    *,
    to: Literal['prefix'] = 'prefix',
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Path:
    """Write a section as a folder of prefix files, which the published programs read."""
def demo(
    out: str | Path = ...,
    *,
    size_mm: float = 4.0,
    seed: int = 41,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    job: Job | None = None,
    cache: Cache | None = None,
) -> DemoDone:
    """Make a phantom, predict its genes, and compare with the known truth."""
def doctor(
    section: str | Path | Section | AnnData,
    *,
    image: str | Path | None = None,
    save: str | Path | None = None,
    picture: str | Path | None = None,
    json: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Diagnosis:
    """Tell whether spots lie where they belong on their slide, or fit better in another way."""
@overload
def domains(  # type: ignore[overload-overlap, unused-ignore]
    sections: str | Path | Section | AnnData | Result,
    *,
    out: str | Path | None = None,
    method: Literal['stamgc'] | str = 'stamgc',
    n_domains: int | None = None,
    superpixel_um: float | None = None,
    preset: Literal['robust', 'reference'] | str = 'robust',
    clustering: Literal['auto', 'mixture', 'kmeans', 'leiden'] = 'auto',
    runs: int | None = None,
    refine: bool = False,
    group: str = '',
    epochs: int | None = None,
    image: str | Path | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    seed: int = 0,
    clear_dead_locks: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Result:
    """Find spatial domains of spots, or of the superpixels of a result."""
@overload
def domains(
    sections: Sequence[str | Path | Section | AnnData | Result],
    *,
    out: str | Path | None = None,
    method: Literal['stamgc'] | str = 'stamgc',
    n_domains: int | None = None,
    superpixel_um: float | None = None,
    preset: Literal['robust', 'reference'] | str = 'robust',
    clustering: Literal['auto', 'mixture', 'kmeans', 'leiden'] = 'auto',
    runs: int | None = None,
    refine: bool = False,
    group: str = '',
    epochs: int | None = None,
    image: str | Path | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    seed: int = 0,
    clear_dead_locks: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> list[Result]:
    """Find spatial domains of spots, or of the superpixels of a result."""
def downsample(
    section: str | Path | Section | AnnData,
    out: str | Path,
    *,
    mean: float = 0.3,
    sd: float = 0.05,
    seed: int = 0,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Path:
    """Thin the counts of a section, as a shallower experiment would have."""
def edit_domains(
    result: str | Path | Result,
    *,
    rename: str | Sequence[str] = (),
    merge: str | Sequence[str] = (),
    hide: str | Sequence[str] = (),
    recolour: str | Sequence[str] = (),
    run: str = '',
    clear_dead_locks: bool = False,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Result:
    """Rename, merge, hide or recolour domains, as a run beside the one they are of."""
@overload
def enhance(  # type: ignore[overload-overlap, unused-ignore]
    sections: str | Path | Section | AnnData | Sequence[str | Path | Section | AnnData],
    *,
    out: str | Path | None = None,
    method: Literal['histosge', 'pixel2gene', 'spamcaf'] | str = 'pixel2gene',
    predict: str | Path | Section | AnnData,
    genes: str | Sequence[str] = (),
    write: str | Sequence[str] = (),
    region: str | Path | Region | None = None,
    encoder: str = 'stain',
    crops: str = '',
    pitch: float | None = None,
    lattice: Literal[2, 3, 4] | None = None,
    tissue: str | Path | ndarray = ...,
    quality: bool = True,
    preset: Literal['robust', 'reference', 'blended', 'istar'] | str = 'robust',
    epochs: int | None = None,
    image: str | Path | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    seed: int = 0,
    clear_dead_locks: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Result:
    """Learn gene expression from sections, and predict it over their slides, or over others."""
@overload
def enhance(
    sections: str | Path | Section | AnnData | Sequence[str | Path | Section | AnnData],
    *,
    out: str | Path | None = None,
    method: Literal['histosge', 'pixel2gene', 'spamcaf'] | str = 'pixel2gene',
    predict: Sequence[str | Path | Section | AnnData],
    genes: str | Sequence[str] = (),
    write: str | Sequence[str] = (),
    region: str | Path | Region | None = None,
    encoder: str = 'stain',
    crops: str = '',
    pitch: float | None = None,
    lattice: Literal[2, 3, 4] | None = None,
    tissue: str | Path | ndarray = ...,
    quality: bool = True,
    preset: Literal['robust', 'reference', 'blended', 'istar'] | str = 'robust',
    epochs: int | None = None,
    image: str | Path | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    seed: int = 0,
    clear_dead_locks: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> list[Result]:
    """Learn gene expression from sections, and predict it over their slides, or over others."""
@overload
def enhance(  # type: ignore[overload-overlap, unused-ignore]
    sections: str | Path | Section | AnnData,
    *,
    out: str | Path | None = None,
    method: Literal['histosge', 'pixel2gene', 'spamcaf'] | str = 'pixel2gene',
    predict: tuple[()] = (),
    genes: str | Sequence[str] = (),
    write: str | Sequence[str] = (),
    region: str | Path | Region | None = None,
    encoder: str = 'stain',
    crops: str = '',
    pitch: float | None = None,
    lattice: Literal[2, 3, 4] | None = None,
    tissue: str | Path | ndarray = ...,
    quality: bool = True,
    preset: Literal['robust', 'reference', 'blended', 'istar'] | str = 'robust',
    epochs: int | None = None,
    image: str | Path | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    seed: int = 0,
    clear_dead_locks: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Result:
    """Learn gene expression from sections, and predict it over their slides, or over others."""
@overload
def enhance(
    sections: Sequence[str | Path | Section | AnnData],
    *,
    out: str | Path | None = None,
    method: Literal['histosge', 'pixel2gene', 'spamcaf'] | str = 'pixel2gene',
    predict: tuple[()] = (),
    genes: str | Sequence[str] = (),
    write: str | Sequence[str] = (),
    region: str | Path | Region | None = None,
    encoder: str = 'stain',
    crops: str = '',
    pitch: float | None = None,
    lattice: Literal[2, 3, 4] | None = None,
    tissue: str | Path | ndarray = ...,
    quality: bool = True,
    preset: Literal['robust', 'reference', 'blended', 'istar'] | str = 'robust',
    epochs: int | None = None,
    image: str | Path | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    seed: int = 0,
    clear_dead_locks: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> list[Result]:
    """Learn gene expression from sections, and predict it over their slides, or over others."""
def evaluate(
    sections: str | Path | Section | AnnData | Sequence[str | Path | Section | AnnData],
    *,
    method: Literal['histosge', 'pixel2gene', 'sinca', 'spamcaf', 'stamgc'] | str = 'stamgc',
    reference: str | Path | AnnData | None = None,
    folds: int = 5,
    truth: str = '',
    n_domains: int | None = None,
    split: Literal['recovery', 'blocks', 'sections', 'genes'] | None = None,
    ratio: float = 0.5,
    buffer: float = 200.0,
    test: str | Path | Section | AnnData | Sequence[str | Path | Section | AnnData] = (),
    scored: int = 250,
    normalise: Literal['log1p-cp10k', 'log1p-cpm-panel', 'pearson-residuals'] = 'log1p-cp10k',
    genes: str | Sequence[str] = (),
    seeds: str = '0',
    preset: Literal['robust', 'reference', 'blended', 'istar', 'first'] | str = 'robust',
    encoder: str = 'stain',
    crops: str = '',
    quality: bool = True,
    tissue: str | Path | ndarray | None = None,
    attended: Literal['cells', 'centroids'] = 'cells',
    clustering: Literal['auto', 'mixture', 'kmeans', 'leiden'] = 'auto',
    runs: int | None = None,
    refine: bool = False,
    group: str = '',
    epochs: int | None = None,
    image: str | Path | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    csv: str | Path | None = None,
    json: str | Path | None = None,
    report: str | Path | None = None,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Evaluation:
    """Score a method on a section: domains, genes of spots, or whole genes, that it did not see."""
def export(
    result: str | Path | Result | Section | AnnData,
    out: str | Path,
    *,
    to: Literal['h5ad', 'ome-tiff', 'spatialdata'] | str = 'h5ad',
    at_spots: str | Path | Section | AnnData | None = None,
    table: str = '',
    genes: str | Sequence[str] = (),
    run: str = '',
    what: Literal['expression', 'spread', 'interval', 'depth', 'unfamiliar'] = 'expression',
    above: float | None = None,
    scale: Literal['spot', '8 spots', 'region'] = 'spot',
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Path:
    """Write predictions to a file: at spots or superpixels, as a table or images; or a slide."""
def figure(
    result: str | Path | Result,
    out: str | Path,
    *,
    genes: str | Sequence[str] = (),
    panels: str | Sequence[str] = (),
    run: str = '',
    box: str = '',
    outlines: str | Path | Region | None = None,
    limits: str | Sequence[str] = (),
    colormap: str = 'magma',
    background: Literal['white', 'he'] = 'white',
    reliable: float = 0.1,
    dpi: int = 300,
    width_mm: float = 180.0,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Path:
    """Draw genes, the slide and domains of a result as a figure for print: PNG, SVG or PDF."""
def impute(
    spots: str | Path | Section | AnnData,
    reference: str | Path | AnnData,
    *,
    out: str | Path | None = None,
    method: Literal['sinca'] | str = 'sinca',
    genes: str | Sequence[str] = (),
    cluster_key: str = '',
    attended: Literal['cells', 'centroids'] = 'cells',
    then: Literal['pixel2gene'] | None = None,
    write: str | Sequence[str] = (),
    epochs: int | None = None,
    image: str | Path | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    seed: int = 0,
    clear_dead_locks: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Result:
    """Predict genes that the spots did not measure, from single cells of the same kind of tissue."""
def info(
    path: str | Path | Section | AnnData | Result,
    *,
    image: str | Path | None = None,
    quality: bool = False,
    verify: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> tuple[str, ...]:
    """Say in words what a section, a slide or a result is, and every doubt about it."""
def phantom(
    out: str | Path,
    *,
    size_mm: float = 4.0,
    genes: int = 200,
    seed: int = 0,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Phantom:
    """Make a synthetic section: H&E, spots, bins, cells, a reference, and the truth."""
@overload
def predict(  # type: ignore[overload-overlap, unused-ignore]
    result: str | Path | Model | Result,
    on: str | Path | Section | AnnData,
    *,
    out: str | Path | None = None,
    encoder: str = '',
    run: str = '',
    write: str | Sequence[str] = (),
    region: str | Path | Region | None = None,
    tissue: str | Path | ndarray | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    clear_dead_locks: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Result:
    """Predict every gene of a model that has learned, on other slides."""
@overload
def predict(
    result: str | Path | Model | Result,
    on: Sequence[str | Path | Section | AnnData],
    *,
    out: str | Path | None = None,
    encoder: str = '',
    run: str = '',
    write: str | Sequence[str] = (),
    region: str | Path | Region | None = None,
    tissue: str | Path | ndarray | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    clear_dead_locks: bool = False,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> list[Result]:
    """Predict every gene of a model that has learned, on other slides."""
def script(
    result: str | Path | Result,
    *,
    out: str | Path = ...,
    python: bool = False,
    job: Job | None = None,
    cache: Cache | None = None,
) -> str:
    """Write down the commands, or the Python, that repeat the runs of a result."""
def summarise(
    result: str | Path | Result,
    *,
    regions: str | Path | NamedRegions | Region | None = None,
    cells: str | Path | NamedRegions | None = None,
    domains: str = '',
    genes: str | Sequence[str] = (),
    top: int = 0,
    against: str = '',
    section: str | Path | Section | AnnData | None = None,
    csv: str | Path | None = None,
    qupath: str | Path | None = None,
    run: str = '',
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> DataFrame:
    """Say in numbers what is in regions, cells or domains: predicted, and measured."""
def train(
    sections: str | Path | Section | AnnData | Sequence[str | Path | Section | AnnData],
    *,
    out: str | Path | None = None,
    method: Literal['histosge', 'pixel2gene', 'spamcaf'] | str = 'pixel2gene',
    genes: str | Sequence[str] = (),
    encoder: str = 'stain',
    crops: str = '',
    pitch: float | None = None,
    tissue: str | Path | ndarray = ...,
    quality: bool = True,
    preset: Literal['robust', 'reference', 'blended', 'istar'] | str = 'robust',
    epochs: int | None = None,
    image: str | Path | None = None,
    device: Literal['auto', 'cpu', 'cuda', 'mps'] = 'auto',
    seed: int = 0,
    mpp: float | None = None,
    series: str | None = None,
    icc: bool = True,
    sample: str | None = None,
    registration: str | Path | Registration | None = None,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Model:
    """Learn gene expression from sections, to predict other slides later."""
def weights(
    name: str | None = None,
    *,
    yes: bool = False,
    job: Job | None = None,
    cache: Cache | None = None,
) -> tuple[EncoderWeights, ...]:
    """List encoders, those on this machine first; or fetch the weights of one."""
def write(
    result: str | Path | Result,
    genes: str | Sequence[str],
    *,
    run: str = '',
    clear_dead_locks: bool = False,
    job: Job | None = None,
    cache: Cache | None = None,
) -> Result:
    """Write genes of a result as OME-Zarr images, which other viewers open too."""
