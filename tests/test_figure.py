"""Figures for print: what they show, in what colours, how large, and the same each time."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from matplotlib import colormaps
from PIL import Image

import napari_stenhance as st
from napari_stenhance.results.channels import COLOURS
from napari_stenhance.results.scale import gene_limits
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.figure_options import FigureOptions
from napari_stenhance.tasks.figure_panels import FigureSource
from test_cli import run

ALL = "he,measured,predicted,uncertainty"


@pytest.fixture
def source(here: Path) -> Callable[..., FigureSource]:
    result = st.Result.open("one.stenhance.zarr").folder

    def make(**options: object) -> FigureSource:
        made = FigureOptions(result=result.path, out=Path("f.png"), **options)  # type: ignore[arg-type]
        return FigureSource.from_result(result, made, Job())

    return make


def test_the_same_command_makes_the_same_bytes(here: Path) -> None:
    for suffix in ("png", "svg", "pdf"):
        made = []
        for name in ("a", "b"):
            out = here / f"{name}.{suffix}"
            options = ("--genes", "G1", "--panels", ALL, "--out", out, "--dpi", "100")
            assert run("figure", "one.stenhance.zarr", *options).stdout == f"{out}\n"
            made.append(out.read_bytes())
        assert made[0] == made[1]
    with Image.open("a.png") as image:
        assert image.width == int(180 / 25.4 * 100)
        assert image.info["dpi"][0] == pytest.approx(100, abs=0.01)
    # Text is text, which an editor of vectors can change.
    texts = re.findall(r"<text[^>]*>([^<]*)", Path("a.svg").read_text("utf-8"))
    for said in ("one, H&amp;E", "G1 measured", "log1p CP10k", "100 µm"):
        assert said in texts
    assert any(text.startswith("G1 predicted") for text in texts)
    assert any("G1 on what was held out: r =" in text for text in texts)
    with pytest.raises(st.InputError, match="something lies here already"):
        st.figure("one.stenhance.zarr", "a.png", genes="G1")


def test_a_gene_has_one_scale_and_its_values_are_those_of_the_result(
    source: Callable[..., FigureSource],
) -> None:
    drawn = source(genes="G1,G2", panels=("he", "measured", "predicted", "uncertainty"))
    (slide, measured, predicted, spread), (nothing, *_) = drawn.rows(Job())
    assert nothing is None
    assert slide is not None
    assert measured is not None
    assert predicted is not None
    assert spread is not None
    assert measured.limits == predicted.limits == gene_limits(drawn.run, "G1")  # type: ignore[arg-type]
    assert spread.limits != predicted.limits
    result = st.Result.open("one.stenhance.zarr")
    whole = result["G1"]
    x0, y0, x1, y1 = predicted.image.box  # type: ignore[union-attr]
    part = whole.sel(x=slice(x0, x1), y=slice(y0, y1))
    np.testing.assert_array_equal(part.to_numpy(), predicted.image.values)  # type: ignore[union-attr]
    table = st.read("one.h5ad").need_spots()
    share = table[:, "G1"].X.toarray().ravel() / np.asarray(table.X.sum(axis=1)).ravel()
    np.testing.assert_allclose(measured.spots.values, np.log1p(1e4 * share), rtol=1e-5)  # type: ignore[union-attr]
    assert measured.spots.diameter == 55  # type: ignore[union-attr]


def test_colours_in_the_picture_are_those_of_the_bar(here: Path) -> None:
    options = {"genes": "G1", "panels": "predicted", "reliable": -1.0, "dpi": 200}
    st.figure("one.stenhance.zarr", "p.png", limits="0,9", colormap="viridis", **options)
    with Image.open("p.png") as image:
        seen = {tuple(rgb) for rgb in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    values = st.Result.open("one.stenhance.zarr")["G1"].to_numpy()
    of_values = colormaps["viridis"](values[np.isfinite(values)] / 9, bytes=True)[:, :3]
    wanted = {tuple(rgb) for rgb in of_values.tolist()}
    assert len(wanted & seen) > 0.9 * len(wanted)


def test_each_gene_may_have_limits(source: Callable[..., FigureSource]) -> None:
    rows = source(genes="G1,G2", panels="predicted", limits=("0,4", "1,2")).rows(Job())
    assert [row[0] and row[0].limits for row in rows] == [(0, 4), (1, 2)]
    ((panel,),) = source(genes="G1,G2", panels="together", limits="0,4").rows(Job())
    assert panel is not None
    assert [name.split(" ", 2)[2] for _, name in panel.legend] == [
        "0.00 – 4.00, not reliable" if "not" in name else "0.00 – 4.00" for _, name in panel.legend
    ]


def test_an_unreliable_gene_is_washed_out_and_said_so(source: Callable[..., FigureSource]) -> None:
    ((good,),) = source(genes="G1", panels="predicted", reliable=-1.0).rows(Job())
    ((bad,),) = source(genes="G1", panels="predicted", reliable=1.0).rows(Job())
    assert good is not None
    assert bad is not None
    assert (good.title, bad.title) == ("G1 predicted", "G1 predicted, not reliable")
    assert bad.opacity < good.opacity == 1


def test_only_a_part_is_read_and_at_the_resolution_of_the_print(
    source: Callable[..., FigureSource],
) -> None:
    drawn = source(genes="G1", panels="he,predicted", box="100,150,300,350", dpi=50, width_mm=60.0)
    ((slide, gene),) = drawn.rows(Job())
    assert slide is not None
    assert gene is not None
    assert slide.image.values.shape == (59, 59, 3)  # type: ignore[union-attr]
    x0, y0, x1, y1 = gene.image.box  # type: ignore[union-attr]
    assert x0 <= 100 < x0 + 8
    assert y0 <= 150 < y0 + 8
    assert x1 - 8 < 300 <= x1
    assert y1 - 8 < 350 <= y1


def test_genes_together_and_domains_have_legends(source: Callable[..., FigureSource]) -> None:
    result = st.Result.open("one.stenhance.zarr")
    path = Path("mine.stenhance.zarr")
    shutil.copytree(result.path.resolve(), path)
    st.domains("one.h5ad", n_domains=2, runs=1, epochs=2, device="cpu", out=path)
    out = st.Result.open(path).figure(
        "t.svg", genes=["G1", "G20"], panels=["together", "domains"], background="he"
    )
    text = out.read_text("utf-8")
    for said in ("Domain 1", "Domain 2", "domains, stamgc-robust"):
        assert said in text
    for gene, colour in zip(("G1", "G20"), COLOURS, strict=False):
        assert f"{gene} {colour}" in text


def test_outlines_are_drawn(here: Path) -> None:
    region = st.Region(shapely.box(150, 150, 400, 400))
    options = {"genes": "G1", "panels": "measured", "dpi": 100}
    one = st.figure("one.stenhance.zarr", "without.png", **options)
    two = st.figure("one.stenhance.zarr", "with.png", outlines=region, **options)
    with Image.open(one) as before, Image.open(two) as after:
        changed = np.asarray(before).astype(int) != np.asarray(after)
    assert 0 < changed.any(axis=2).mean() < 0.05


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"out": "f.jpg"}, r"ends in .png, .svg, .pdf"),
        ({"out": "one-G1.png"}, "beside one.h5ad it would be taken for the slide"),
        ({"panels": "he,cells"}, "Panel cells: there is no such panel"),
        ({"genes": "NONE"}, "NONE"),
        ({"box": "1,2,3"}, "Box 1,2,3: write X0,Y0,X1,Y1"),
        ({"box": "9000,9000,9100,9100", "panels": "predicted"}, "nothing of the result lies there"),
        ({"limits": "3,1"}, "write LOW,HIGH"),
        ({"limits": "0,inf"}, "write LOW,HIGH"),
        ({"limits": ["0,1", "0,2", "0,3"], "genes": "G1,G2"}, "3 pairs of limits for 2 genes"),
        ({"dpi": 0}, "choose 1 to 1200"),
        ({"dpi": 1200, "width_mm": 900.0, "panels": "predicted"}, "million pixels"),
        ({"width_mm": 30.0, "panels": "predicted,measured,uncertainty"}, "too narrow"),
        ({"colormap": "pink lemonade"}, "matplotlib has none"),
        ({"panels": "domains"}, "no domain run"),
    ],
)
def test_what_cannot_be_drawn_is_said(here: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(st.InputError, match=said):
        st.figure("one.stenhance.zarr", **{"out": "f.png", **options})
    assert not list(here.glob("f.*"))


def test_measured_needs_the_spots(here: Path) -> None:
    shutil.copytree(Path("one.stenhance.zarr").resolve(), "moved.stenhance.zarr")
    (Path("moved.stenhance.zarr") / "files" / "log.jsonl").unlink()
    with pytest.raises(st.InputError, match="its measured spots cannot be drawn"):
        st.figure("moved.stenhance.zarr", "f.png", panels="measured")
    assert st.figure("moved.stenhance.zarr", "f.png", genes="G1").is_file()
