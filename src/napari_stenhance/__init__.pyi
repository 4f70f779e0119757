# Made by scripts/write_stub.py of the options of the tasks; a test compares.
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

from anndata import AnnData

from napari_stenhance.errors import Cancelled as Cancelled
from napari_stenhance.errors import InferenceError as InferenceError
from napari_stenhance.errors import InputError as InputError
from napari_stenhance.errors import StenhanceError as StenhanceError
from napari_stenhance.methods.field import GeneField as GeneField
from napari_stenhance.results.domain_edit import DomainEdit as DomainEdit
from napari_stenhance.results.domains import DomainRun as DomainRun
from napari_stenhance.results.domains import domain_run as domain_run
from napari_stenhance.results.domains import domain_runs as domain_runs
from napari_stenhance.results.imputed import ImputedRun as ImputedRun
from napari_stenhance.results.imputed import imputed_run as imputed_run
from napari_stenhance.results.imputed import imputed_runs as imputed_runs
from napari_stenhance.results.result import ResultFolder as ResultFolder
from napari_stenhance.running.job import Job as Job
from napari_stenhance.section.grid import Grid as Grid
from napari_stenhance.section.phantom.phantom import Phantom as Phantom
from napari_stenhance.section.region import Region as Region
from napari_stenhance.section.section import Section as Section
from napari_stenhance.section.section import open_section as open_section
from napari_stenhance.section.slide import Slide as Slide
from napari_stenhance.storage.cache import Cache as Cache
from napari_stenhance.tasks.compare import CompareOptions as CompareOptions
from napari_stenhance.tasks.compare import Compared
from napari_stenhance.tasks.compare import compare as compare
from napari_stenhance.tasks.convert import ConvertOptions as ConvertOptions
from napari_stenhance.tasks.convert import convert as convert
from napari_stenhance.tasks.demo import DemoDone
from napari_stenhance.tasks.demo import DemoOptions as DemoOptions
from napari_stenhance.tasks.demo import demo as demo
from napari_stenhance.tasks.domains import DomainsOptions as DomainsOptions
from napari_stenhance.tasks.domains import domains as domains
from napari_stenhance.tasks.downsample import DownsampleOptions as DownsampleOptions
from napari_stenhance.tasks.downsample import downsample as downsample
from napari_stenhance.tasks.edit_domains import EditDomainsOptions as EditDomainsOptions
from napari_stenhance.tasks.edit_domains import edit_domains as edit_domains
from napari_stenhance.tasks.enhance import EnhanceOptions as EnhanceOptions
from napari_stenhance.tasks.enhance import enhance as enhance
from napari_stenhance.tasks.evaluate import EvaluateOptions as EvaluateOptions
from napari_stenhance.tasks.evaluate import Score
from napari_stenhance.tasks.evaluate import evaluate as evaluate
from napari_stenhance.tasks.export import ExportOptions as ExportOptions
from napari_stenhance.tasks.export import export as export
from napari_stenhance.tasks.impute import ImputeOptions as ImputeOptions
from napari_stenhance.tasks.impute import impute as impute
from napari_stenhance.tasks.info import InfoOptions as InfoOptions
from napari_stenhance.tasks.info import info as info
from napari_stenhance.tasks.phantom import PhantomOptions as PhantomOptions
from napari_stenhance.tasks.phantom import phantom as phantom
from napari_stenhance.tasks.predict import PredictOptions as PredictOptions
from napari_stenhance.tasks.predict import predict as predict
from napari_stenhance.tasks.write import WriteOptions as WriteOptions
from napari_stenhance.tasks.write import write as write

