"""A method and a verb of another package, each in one file, as commands and at the front door."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_stenhance as st
from napari_stenhance.running.extensions import extensions
from napari_stenhance.tasks.evaluate import evaluate
from napari_stenhance.tasks.evaluate_options import EvaluateOptions

METHOD = '''
"""Each gene's mean everywhere: a method of another package."""

from dataclasses import dataclass

import numpy as np

from napari_stenhance.methods.registry import MethodEntry


def make(options, seed, device):
    return MeanExpression(options.encoder)


def load(folder, device):
    from napari_stenhance.methods.saved import load_model, shared_parts

    return load_model(folder, lambda *saved: fitted_mean(**shared_parts(*saved)))


@dataclass(frozen=True)
class MeanExpression:
    encoder: str
    crops_um = None
    halo_um = 0.0
    least_share = 0.0
    most_spots = None
    genes = "all"

    def describe(self):
        return {}

    def fit(self, samples, genes, job):
        from napari_stenhance.features.registry import find_encoder
        from napari_stenhance.methods.decoder import Decoder

        mean = np.mean([s.log1p_cp10k(genes).mean(axis=0) for s in samples], axis=0)
        none = np.full(len(genes), np.nan, np.float32)
        decoder = Decoder(
            tuple(genes), np.ones((1, len(genes)), np.float32), mean.astype(np.float32),
            "log1p CP10k", none, none, np.ones(len(genes), np.float32))
        return fitted_mean(
            decoder=decoder,
            pitch_um=samples[0].features.grid.pitch_um,
            encoder=self.encoder,
            encoder_identity=find_encoder(self.encoder).identity(),
        )


def fitted_mean(**shared):
    from napari_stenhance.methods.protocol import Latent
    from napari_stenhance.methods.saved import GeneModel

    class FittedMean(GeneModel):
        crops_um = None
        halo_um = 0.0
        raw = False

        def latent(self, tile):
            tissue = tile.tissue[tile.core][..., None]
            none = np.where(tissue, np.float32(0), np.float32(np.nan))
            return Latent(none, none)

        def parts(self):
            return {}, {"method": "mean", "preset": "robust"}

    return FittedMean(**shared)


METHOD = MethodEntry(
    name="mean", title="Mean", kind="genes", text="nothing but counts", make=make, load=load
)
'''
VERB = '''
"""Say how many spots a section has: a verb of another package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.options import SECTION, Help, Mpp, Options


@dataclass(frozen=True)
class CountOptions(Options):
    section: Annotated[Path, Help("A section.", positional=True, takes=SECTION)]
    times: Annotated[int, Help("Multiply by this.")] = 1
    mpp: Mpp = None


def count_spots(options: CountOptions, job) -> int:
    """Count the spots of a section.

    Returns
    -------
    int
        How many, times what was asked for.
    """
    from napari_stenhance.section.section import Section, open_section

    section = options.section
    opened = section if isinstance(section, Section) else open_section(section, mpp=options.mpp)
    return opened.need_spots().n_obs * options.times


VERB = Verb(CountOptions, count_spots)
'''
ENTRIES = """\
[napari_stenhance.methods]
mean = toy_mean:METHOD
[napari_stenhance.cli]
count_spots = toy_count:VERB
"""


@pytest.fixture(scope="module", autouse=True)
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install a package with both: two files, and what pip writes beside them."""
    site = tmp_path_factory.mktemp("site")
    (site / "toy_mean.py").write_text(METHOD, "utf-8")
    (site / "toy_count.py").write_text(VERB, "utf-8")
    info = site / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: toys\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(ENTRIES, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        extensions.cache_clear()
        yield site
    extensions.cache_clear()


def said(*arguments: object) -> str:
    from napari_stenhance.cli import app

    ran = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert ran.exit_code == 0, ran.output + ran.stderr
    return ran.stdout


def test_a_method_is_listed_used_saved_and_loaded(
    section_files: list[Path], tmp_path: Path
) -> None:
    words = said("enhance", "--help").replace("│", " ").split()
    assert "spamcaf (crops of two sizes, and those around them), mean (nothing but counts)" in (
        " ".join(words)
    )
    out, model = tmp_path / "one.stenhance.zarr", tmp_path / "mean.model"
    said("enhance", section_files[0], "--method", "mean", "--out", out, "--device", "cpu")
    result = st.Result.open(out)
    assert result.runs == ("mean-stain-robust",)
    said("train", section_files[0], "--method", "mean", "--out", model, "--device", "cpu")
    other = st.predict(model, section_files[1], out=tmp_path / "two.stenhance.zarr", device="cpu")
    image = other["G1"].values
    assert np.nanstd(image) == 0
    assert np.nanmax(image) == pytest.approx(np.nanmax(result["G1"].values), abs=1e-3)


def test_a_method_is_evaluated_and_refuses_options_of_others(small_files: list[Path]) -> None:
    found = evaluate(EvaluateOptions((small_files[0],), method="mean", genes="hvg:5", device="cpu"))
    assert found[0].what == "mean"
    assert found[0].values["constant"] == 5
    for options, message in (
        ({"crops": "100"}, "Crops: an option of histosge, spamcaf, not of mean; leave it out"),
        ({"preset": "istar"}, "Method mean with preset istar: there is no such pair"),
        ({"reference": Path("cells")}, "Reference: an option of sinca, not of mean"),
    ):
        with pytest.raises(st.InputError, match=message):
            evaluate(EvaluateOptions((small_files[0],), method="mean", **options))


def test_a_method_at_the_front_door_and_one_that_is_not_there(small_files: list[Path]) -> None:
    model = st.train(small_files[0], method="mean", genes="G1,G2", device="cpu")
    assert (model.method, model.genes) == ("mean", ("G1", "G2"))
    with pytest.raises(st.InputError, match=r"no such choice; there are .*spamcaf, mean"):
        st.train(small_files[0], method="median")


def test_a_verb_is_a_command_and_a_function(small_files: list[Path]) -> None:
    assert "Count the spots of a section." in said("--help")
    assert "Multiply by this." in said("count-spots", "--help")
    section = st.read(small_files[0])
    number = section.need_spots().n_obs
    assert said("count-spots", small_files[0], "--times", 3).split() == [str(3 * number)]
    assert st.count_spots(section, times=2) == 2 * number
    assert list(inspect.signature(st.count_spots).parameters)[:2] == ["section", "times"]
    with pytest.raises(st.InputError, match="count_spots has no keyword 'time'; did you mean"):
        st.count_spots(section, time=2)


def test_without_the_package_they_are_not_there(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(toys)])
    extensions.cache_clear()
    assert not hasattr(st, "count_spots")
    assert "count-spots" not in said("--help")
    extensions.cache_clear()
