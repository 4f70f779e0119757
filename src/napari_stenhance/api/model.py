"""Models that have learned: train once, predict on other slides, keep for later."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.api.keywords import as_method, keywords
from napari_stenhance.api.predicting import predict
from napari_stenhance.api.tables import by_gene
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import counted
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.train import TrainOptions
from napari_stenhance.tasks.trained import Trained, copy_trained

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.methods.decoder import Decoder


class Model:
    """A method that has learned.

    Attributes
    ----------
    path : Path
        Where it lies: the folder of a model, or a result. One that `train` made without `out` lies
        among temporary files, and goes when the object does: `save` it to keep it.
    run_name : str
        Of a result: which run's model; empty for the newest of the whole slide.

    Examples
    --------
    >>> model = st.Model.load("one.stenhance.zarr")
    >>> model.method, len(model.genes)
    ('pixel2gene', 40)
    >>> model.save("one.model").name
    'one.model'
    """

    def __init__(self, path: Path, run_name: str = "") -> None:
        # The working folder may change, and this is still the same model.
        self.path = path.absolute()
        self.run_name = run_name
        self._trained = Trained.open(self.path, run_name)

    @classmethod
    def load(cls, path: str | Path, run: str = "") -> Model:
        """Open a model that was saved, or that of a run in a result.

        Raises
        ------
        InputError
            If there is none, or it was written by a newer version.
        """
        return cls(Path(path), run)

    predict = as_method(predict)

    def save(self, path: str | Path) -> Path:
        """Write the model as a folder: weights.safetensors and JSON, never pickle.

        Parameters
        ----------
        path : str or Path
            Nothing is overwritten.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        InputError
            If something lies there, or it cannot be written.
        """
        return copy_trained(self._trained, Path(path)).folder

    @property
    def method(self) -> str:
        """What learned: pixel2gene, histosge or spamcaf."""
        return str(self._trained.identity["method"])

    @property
    def genes(self) -> tuple[str, ...]:
        """Genes that it predicts."""
        return self._decoder.genes

    @property
    def held_out_r(self) -> pd.Series[float]:
        """Pearson's r of each gene where it was measured and hidden, by gene; NaN if not known."""
        return by_gene(self._decoder, "held_out_r")

    @property
    def held_out_r_given_depth(self) -> pd.Series[float]:
        """The same with the log total count of the spots held constant."""
        return by_gene(self._decoder, "held_out_r_given_depth")

    @property
    def doubts(self) -> tuple[str, ...]:
        """What was guessed or left out of what it learned from, one sentence each."""
        return self._trained.doubts

    @cached_property
    def _decoder(self) -> Decoder:
        import torch

        return self._trained.load(torch.device("cpu")).decoder

    def __repr__(self) -> str:
        learned = ", ".join(s["name"] for s in self._trained.identity["learned_from"])
        return f"<Model {self.method}: {counted(len(self.genes), 'gene')}, learned from {learned}>"


@keywords(TrainOptions, may_omit=("out",))
def train(options: TrainOptions, job: Job, cache: Cache) -> Model:
    """Learn gene expression from sections, to predict other slides later.

    Returns
    -------
    Model
        Its weights are those that `enhance` learns with the same keywords. Without `out` it is kept
        only as long as the object, or until it is saved.

    Raises
    ------
    InputError
        If an input or a keyword cannot be used, or something lies at `out`.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled; nothing is left behind.

    Examples
    --------
    >>> model = st.train(["one.h5ad", "two.h5ad"], epochs=2, device="cpu")
    >>> model
    <Model pixel2gene: 40 genes, learned from one, two>
    >>> model.predict("two.h5ad", out="learned.stenhance.zarr").genes == model.genes
    True
    """
    from napari_stenhance.tasks.train import train as task

    # The options demand it, the front door does not.
    out: Any = options.out
    if out is not None:
        return Model(task(options, job, cache).folder)
    scratch = Path(tempfile.mkdtemp(prefix="stenhance-"))
    try:
        model = Model(task(replace(options, out=scratch / "model"), job, cache).folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    weakref.finalize(model, shutil.rmtree, scratch, ignore_errors=True)
    return model
