"""The phantom: what it is made of, how hard it is, and that it opens as any section does."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from sklearn.neighbors import NearestCentroid

import napari_stenhance as st
from napari_stenhance.phantoms.anatomy import ADIPOSE, DOMAINS, GLASS, TUMOUR, Anatomy
from napari_stenhance.phantoms.cells import PhantomNuclei
from napari_stenhance.phantoms.counts import draw_counts, draw_depth
from napari_stenhance.phantoms.genes import CELL_TYPES, FOLLOWS, Program
from napari_stenhance.phantoms.paint import Painter
from napari_stenhance.phantoms.phantom import Phantom
from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_run
from napari_stenhance.running.job import Event, Progress
from napari_stenhance.scoring.metrics import PearsonSums, pearson
from napari_stenhance.section.section import open_section
from napari_stenhance.section.spots import log1p_cp10k
from napari_stenhance.tasks.demo import (
    OF_CELLS,
    DemoOptions,
    TruthScore,
    check_nothing,
    compare_with_truth,
    demo,
)
from napari_stenhance.tasks.enhance import EnhanceOptions
from test_cli import files_of, run

SEED = 5


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    return write_phantom(tmp_path_factory.mktemp("phantom") / "two", 2, SEED)


@pytest.fixture(scope="module")
def cells(phantom: Phantom) -> ad.AnnData:
    return ad.read_h5ad(phantom.folder / "cells.h5ad")


def _program_follows() -> dict[str, NDArray[np.intp]]:
    follows = np.array(Program().follows[:200])
    return {name: np.flatnonzero(follows == name) for name in FOLLOWS}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """From the command line, too."""
    ran = run("phantom", tmp_path / "a", "--size-mm", 1, "--seed", 3)
    assert ran.stdout.strip() == str(tmp_path / "a")
    assert json.loads((tmp_path / "a" / "phantom.json").read_text("utf-8"))["seed"] == 3
    assert "discs of 55 µm at a pitch of 100 µm" in run("info", tmp_path / "a").output
    again, other = (write_phantom(tmp_path / name, 1, seed) for name, seed in (("b", 3), ("c", 4)))
    first, second, third = (files_of(f) for f in (tmp_path / "a", again.folder, other.folder))
    assert first == second
    for name in ("he.tif", "spots.h5ad", "bins.h5ad", "cells.h5ad", "reference.h5ad"):
        assert first[name] != third[name]


def test_it_opens_as_any_section(phantom: Phantom) -> None:
    section = open_section(phantom.folder)
    assert section.name == "two"
    assert not section.doubts
    assert section.need_slide().scale() == pytest.approx(0.5)
    assert section.need_slide().shape == (4000, 4000)
    geometry = section.geometry()
    assert (geometry.spot_diameter_um, geometry.pitch_um, geometry.spot_shape) == (55, 100, "disc")
    # Six neighbours, each at 100 µm: the lattice is hexagonal.
    near = cKDTree(section.spots_um()).query_pairs(101, output_type="ndarray")
    assert np.bincount(near.ravel()).max() == 6
    spots = section.need_spots()
    assert spots.n_vars == 200
    assert ((spots.obs["array_row"] + spots.obs["array_col"]) % 2 == 0).all()
    # The slide alone states its scale too, as scanners write it.
    assert st.Slide.open(phantom.folder / "he.tif").scale() == pytest.approx(0.5)
    with tifffile.TiffFile(phantom.folder / "he.tif") as tif:
        assert len(tif.series[0].levels) > 2
        assert tif.pages.first.compression.name == "JPEG"
    bins = open_section(phantom.folder / "bins.h5ad")
    assert bins.name == "two-bins"
    assert bins.geometry().pitch_um == 8
    assert bins.geometry().spot_shape == "square"
    assert bins.need_slide().shape == (4000, 4000)


def test_a_part_is_unmeasured(phantom: Phantom) -> None:
    tissue = phantom.domain != GLASS
    assert 0.25 < (tissue & ~phantom.measured).sum() / tissue.sum() < 0.35
    for name in ("spots.h5ad", "bins.h5ad"):
        section = open_section(phantom.folder / name)
        column = section.spots_um()[:, 0] / phantom.pitch_um
        assert column.max() < phantom.measured[0].sum()
    assert len(section.spots_um()) == (tissue & phantom.measured).sum()


def test_compartments(phantom: Phantom) -> None:
    share = np.bincount(phantom.domain.ravel(), minlength=6) / phantom.domain.size
    assert phantom.domains == DOMAINS
    assert (share > 0.015).all(), dict(zip(DOMAINS, share, strict=True))
    assert 0.15 < share[GLASS] < 0.5
    # Glass all round: the section is whole.
    rim = np.concatenate([phantom.domain[[0, -1]].ravel(), phantom.domain[:, [0, -1]].ravel()])
    assert (rim == GLASS).all()


def test_nuclei_are_as_large_and_as_many_as_in_tissue(phantom: Phantom, cells: ad.AnnData) -> None:
    obs, tissue = cells.obs, phantom.domain != GLASS
    per_mm2 = cells.n_obs / (tissue.sum() * (phantom.pitch_um / 1000) ** 2)
    assert 3000 < per_mm2 < 7000
    assert len(obs["cell_type"].cat.categories) == 8
    area = obs.groupby("cell_type", observed=True)["nucleus_area_um2"].median()
    assert 20 < area["T cell"] < area["tumour"] < area["cycling tumour"] < 100
    aspect = obs.groupby("cell_type", observed=True)["nucleus_aspect"].median()
    assert aspect["T cell"] < 1.3
    assert aspect["fibroblast"] > 2
    # Outlines enclose that area, and no two nuclei have one centre.
    outline = cells.obsm["nucleus_outline"].astype(float) * phantom.mpp
    x, y = outline[..., 0], outline[..., 1]
    enclosed = np.abs((x * np.roll(y, 1, 1) - y * np.roll(x, 1, 1)).sum(axis=1)) / 2
    assert np.median(enclosed / obs["nucleus_area_um2"]) == pytest.approx(0.975, abs=0.02)
    distance = cKDTree(cells.obsm["spatial"] * phantom.mpp).query(cells.obsm["spatial"] * 0.5, k=2)
    assert distance[0][:, 1].min() > 4.5


def test_outlines_lie_on_the_nuclei_of_the_image(phantom: Phantom, cells: ad.AnnData) -> None:
    slide = st.Slide.open(phantom.folder / "he.tif").levels[0][1000:3000, 1000:3000].compute()
    red = slide[..., 0].astype(float)
    at = np.rint(cells.obsm["spatial"]).astype(int) - 1000
    radius = np.linalg.norm(
        cells.obsm["nucleus_outline"] - cells.obsm["spatial"][:, None], axis=-1
    ).max(axis=1)
    inside = ((at > 60) & (at < 1940)).all(axis=1)
    # Shifted by a nucleus's own size, one lands on tissue that is paler, most times.
    shift = np.rint(at + radius[:, None] * 2).astype(int)
    here = red[at[inside, 1], at[inside, 0]]
    beside = red[shift[inside, 1], shift[inside, 0]]
    assert (here < beside).mean() > 0.75
    assert np.median(here) < np.median(red) - 30


def test_how_hard_the_cells_are(cells: ad.AnnData) -> None:
    obs = cells.obs
    look = obs[["nucleus_area_um2", "nucleus_aspect", "nucleus_stain"]].to_numpy(float)
    look = (look - look.mean(axis=0)) / look.std(axis=0)
    kind = obs["cell_type"].cat.codes
    guessed = NearestCentroid().fit(look, kind).predict(look)
    right = (guessed == kind).mean()
    print(f"nearest mean: {right:.3f}")
    assert 0.60 <= right <= 0.75


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_every_seed_is_as_hard_and_as_mixed(seed: int) -> None:
    anatomy = Anatomy.grow(2000, seed)
    cells = PhantomNuclei.grow(anatomy)
    look = np.column_stack([cells.area_um2, cells.aspect, cells.stain])
    look = (look - look.mean(axis=0)) / look.std(axis=0)
    guessed = NearestCentroid().fit(look, cells.kind).predict(look)
    assert 0.60 <= (guessed == cells.kind).mean() <= 0.75
    assert (np.bincount(cells.kind, minlength=len(CELL_TYPES)) > 20).all()
    assert (np.bincount(anatomy.domain.ravel(), minlength=len(DOMAINS)) > 200).all()


def test_stain_varies_from_seed_to_seed() -> None:
    dyes = [Painter(Anatomy.grow(1000, s), None, 0.5).dyes for s in range(4)]  # type: ignore[arg-type]
    for one, other in pairwise(dyes):
        assert np.abs(one.eosin - other.eosin).max() > 0.01
        assert one.strength != other.strength
    assert all(0.6 < s < 1.6 for d in dyes for s in d.strength)


def test_a_pixel_does_not_depend_on_the_window() -> None:
    anatomy = Anatomy.grow(1000, SEED)
    painter = Painter(anatomy, PhantomNuclei.grow(anatomy), 0.5)
    whole = painter.paint(slice(600, 1100), slice(500, 1000))
    assert np.ptp(whole) > 150
    part = painter.paint(slice(790, 910), slice(730, 870))
    np.testing.assert_array_equal(part, whole[190:310, 230:370])


def test_what_genes_follow(phantom: Phantom) -> None:
    """30 % follow the cell type, 40 % type and compartment, 15 % a field, 15 % nothing."""
    program, groups = Program(), _program_follows()
    assert [len(groups[name]) for name in FOLLOWS] == [60, 80, 30, 30]
    assert len(set(program.genes)) == 240
    assert phantom.follows == program.follows
    by_state = program.of_cells.reshape(len(CELL_TYPES), len(DOMAINS), -1)
    spread = by_state.std(axis=1) / by_state.mean(axis=(0, 1)).clip(1e-9)
    # Nearly the same in every compartment: only what is left for the other genes differs.
    assert np.median(spread[:, groups["cell type"]]) < 0.1
    assert np.median(spread[:, groups["cell type and compartment"]]) > 0.2
    # Each marker is highest in its own type.
    assert CELL_TYPES[by_state.mean(axis=1)[:, program.genes.index("CD3E")].argmax()] == "T cell"
    assert (
        CELL_TYPES[by_state.mean(axis=1)[:, program.genes.index("ADIPOQ")].argmax()] == "adipocyte"
    )
    # On the grid: a compartment tells a lot about the genes of cells, nothing about the others.
    tissue = phantom.domain > 0
    truth = phantom.expression(phantom.genes[:200])[:, tissue].T.astype(float)
    domain = phantom.domain[tissue]
    explained = np.zeros(200)
    for k in range(1, len(DOMAINS)):
        here = domain == k
        explained += here.mean() * (truth[here].mean(axis=0) - truth.mean(axis=0)) ** 2
    explained /= truth.var(axis=0)
    of_cells = np.concatenate([groups[FOLLOWS[0]], groups[FOLLOWS[1]]])
    assert np.median(explained[of_cells]) > 0.1
    assert explained[groups["nothing"]].max() < 0.01
    # A gene that follows nothing tells nothing of its neighbours; one of a field is smooth.
    one = phantom.expression([phantom.genes[n] for n in (150, 185)])
    for image, least, most in ((one[0], 0.9, 1.0), (one[1], -0.05, 0.05)):
        pairs = np.isfinite(image[:, 1:]) & np.isfinite(image[:, :-1])
        r = np.corrcoef(image[:, 1:][pairs], image[:, :-1][pairs])[0, 1]
        assert least <= r <= most


def test_the_field_is_not_in_the_image(phantom: Phantom) -> None:
    slide = st.Slide.open(phantom.folder / "he.tif")
    colour = slide.read((-0.25, -0.25, 1999.75, 1999.75), 8.0).reshape(-1, 3)
    tissue = (phantom.domain > 0).ravel()
    colour = colour[tissue].astype(float)
    field = phantom.expression(["ISG15"])[0].ravel()[tissue].astype(float)
    near = ndimage.gaussian_filter
    for n in range(3):
        assert abs(np.corrcoef(colour[:, n], field)[0, 1]) < 0.25
    of_cells = phantom.expression(["KRT8"])[0].ravel()[tissue].astype(float)
    image = np.zeros(phantom.domain.size)
    image[tissue] = colour[:, 0]
    smooth = near(image.reshape(phantom.domain.shape), 1.5).ravel()[tissue]
    assert abs(np.corrcoef(smooth, of_cells)[0, 1]) > 0.35


def test_counts_are_of_the_truth(phantom: Phantom) -> None:
    section = open_section(phantom.folder)
    counts = sp.csr_array(section.need_spots().X)
    library = np.asarray(counts.sum(axis=1)).ravel()
    assert 500 < np.median(library) < 20_000
    measured = log1p_cp10k(counts, library).toarray()
    under = np.rint(section.spots_um() / phantom.pitch_um - 0.5).astype(int)
    truth = phantom.expression(phantom.genes[:200])
    around = np.log1p(ndimage.uniform_filter(np.expm1(np.nan_to_num(truth)), (0, 7, 7)))
    r = pearson(measured, around[:, under[:, 1], under[:, 0]].T)
    r_of = {name: np.median(r[some]) for name, some in _program_follows().items()}
    print(r_of)
    # As noisy as an assay: counts of single genes agree with the truth, but far from perfectly.
    assert 0.5 < r_of["cell type"] < 0.9
    assert 0.6 < r_of["smooth field"] < 0.9
    assert r_of["nothing"] < 0.3
    bins = open_section(phantom.folder / "bins.h5ad")
    assert np.median(np.asarray(bins.need_spots().X.sum(axis=1))) < 0.05 * np.median(library)


def test_counts_are_overdispersed_and_some_are_lost() -> None:
    draw = np.random.default_rng(0)
    high = draw_counts(np.full((20_000, 1), 50.0), draw_depth(20_000, draw), draw).ravel()
    assert high.mean() == pytest.approx(50 * np.exp(0.25**2 / 2), rel=0.02)
    # Poisson alone would give a variance of 52.
    assert high.var() > 6 * high.mean()
    low = draw_counts(np.full((20_000, 1), 0.5), draw_depth(20_000, draw), draw).ravel()
    assert (low == 0).mean() > np.exp(-0.5) + 0.04
    assert not (high == 0).any()


def test_reference_matches(phantom: Phantom) -> None:
    reference = ad.read_h5ad(phantom.folder / "reference.h5ad")
    assert list(reference.var_names) == list(phantom.genes)
    assert reference.n_vars == 240
    kind = reference.obs["cell_type"]
    assert (kind.value_counts() >= 100).all()
    counts = reference.X.toarray()
    scaled = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    mean = {k: scaled[(kind == k).to_numpy()].mean(axis=0) for k in kind.cat.categories}
    for gene, best in (("MS4A1", "B cell"), ("PAX5", "B cell"), ("VWF", "endothelial")):
        column = reference.var_names.get_loc(gene)
        assert max(mean, key=lambda k: mean[k][column]) == best


def test_what_cannot_be_made(phantom: Phantom, tmp_path: Path) -> None:
    for size in (0.5, 21, float("nan")):
        with pytest.raises(st.InputError, match="1 to 20 mm"):
            write_phantom(tmp_path / "x", size, 0)
    with pytest.raises(st.InputError, match="must not be negative"):
        write_phantom(tmp_path / "x", 2, -1)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(st.InputError, match="nothing was touched"):
        write_phantom(tmp_path / "theirs", 2, 0)
    assert (tmp_path / "theirs" / "notes.txt").read_text("utf-8") == "mine"
    with pytest.raises(st.InputError, match="nothing was touched"):
        write_phantom(phantom.folder, 2, SEED + 1)
    # The same one is there already.
    before = (phantom.folder / "he.tif").stat().st_mtime_ns
    assert write_phantom(phantom.folder, 2, SEED) == phantom
    assert (phantom.folder / "he.tif").stat().st_mtime_ns == before
    with pytest.raises(st.InputError, match="no gene 'NOPE'"):
        phantom.expression(["NOPE"])
    with pytest.raises(st.InputError, match="this is no phantom"):
        Phantom.open(tmp_path)
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(st.InputError, match="cannot be written"):
        write_phantom(tmp_path / "file" / "x", 1, 0)


def test_cancel_leaves_nothing(tmp_path: Path) -> None:
    stages = []

    def stop(event: Event) -> None:
        assert isinstance(event, Progress)
        stages.append(event.stage)
        if event.stage == "Painting the slide":
            job.cancel()

    job = st.Job(listener=stop)
    with pytest.raises(st.Cancelled):
        write_phantom(tmp_path / "x", 1, 0, job)
    assert "Counting transcripts" in stages
    assert list(tmp_path.iterdir()) == []


def test_correlation_in_parts() -> None:
    draw = np.random.default_rng(1)
    a = draw.normal(1000, 1, (500, 7))
    b = a + draw.normal(0, 2, a.shape)
    b[:, 3] = 5
    sums = PearsonSums(7)
    for low, high in ((0, 1), (1, 1), (1, 200), (200, 500)):
        sums.add(a[low:high], b[low:high])
    np.testing.assert_allclose(sums.r(), pearson(a, b), atol=1e-9)
    assert np.isnan(sums.r()[3])


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small demo, from the command line: its scores are those of its files."""
    brief = functools.partial(EnhanceOptions, epochs=3)
    monkeypatch.setattr("napari_stenhance.tasks.enhance.EnhanceOptions", brief)
    out = tmp_path / "demo"
    ran = run("demo", out, "--size-mm", 1, "--seed", SEED, "--device", "cpu")
    section, result = out / "phantom", out / "phantom.stenhance.zarr"
    assert f"napari-stenhance view {section} {result}" in ran.output.replace("\n", "")
    split = [re.split(r"\s{2,}", line.strip()) for line in ran.output.splitlines()]
    rows = {row[0]: [float(v) for v in row[1:]] for row in split if row[0] in (OF_CELLS, *FOLLOWS)}
    assert [rows[name][0] for name in (OF_CELLS, *FOLLOWS)] == [140, 60, 80, 30, 30]
    # The same by another way: whole images, all at once.
    phantom, opened = Phantom.open(section), ResultFolder.open(result)
    field = field_run(opened).field
    images = np.stack([field.image(g) for g in phantom.genes[:200]])
    truth = phantom.expression(phantom.genes[:200])
    here = np.isfinite(images[0]) & (phantom.domain > 0)
    for column, part in ((1, phantom.measured), (3, ~phantom.measured)):
        r = pearson(images[:, here & part].T, truth[:, here & part].T)
        for name, some in _program_follows().items():
            assert rows[name][column] == pytest.approx(float(np.median(r[some])), abs=0.006)
    assert rows["nothing"][1] < 0.1
    # Again: everything is there.
    assert "Painting" not in run("demo", out, "--size-mm", 1, "--seed", SEED).stderr
    assert "something lies here" in run("demo", out, "--seed", SEED, code=2).stderr
    scores = compare_with_truth(phantom, open_section(section), opened, st.Job())
    assert scores[0].genes == 140


def test_demo_refuses_what_cannot_be() -> None:
    fair = TruthScore("nothing", 30, 0.02, 0.0, -0.01, 0.0)
    check_nothing((fair,))
    for leaking in (
        TruthScore("nothing", 30, 0.2, 0, 0, 0),
        TruthScore("nothing", 30, 0, 0, 0.2, 0),
    ):
        with pytest.raises(st.StenhanceError, match=r"r = 0\.20"):
            check_nothing((leaking,))


def test_view_needs_a_display_before_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert "no display" in run("demo", tmp_path / "x", "--view", code=2).stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [21, 22])
def test_the_demo_comes_close_to_the_truth(seed: int, tmp_path: Path) -> None:
    done = demo(DemoOptions(tmp_path / "demo", seed=seed, device="cpu"))
    of_cells = done.scores[0]
    print(done.scores)
    assert of_cells.measured >= 0.5
    assert of_cells.unmeasured >= 0.4
    assert of_cells.measured >= of_cells.measured_interpolation + 0.1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_millimetres_are_streamed(tmp_path: Path) -> None:
    code = (
        "import sys; from napari_stenhance.phantoms.write import write_phantom;"
        "from napari_stenhance.running.memory import peak_gb;"
        "write_phantom(sys.argv[1], 20, 2);"
        "print(peak_gb())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large")],
        env=dict(os.environ),
        check=True,
        capture_output=True,
        text=True,
    )
    peak_gb = float(ran.stdout.split()[-1])
    print(f"{peak_gb:.2f} GB")
    assert peak_gb < 2
    section = open_section(tmp_path / "large")
    assert section.need_slide().shape == (40_000, 40_000)
    assert (section.need_spots().obs["true_domain"] != "glass").mean() > 0.95
    assert {TUMOUR, ADIPOSE} <= set(np.unique(Phantom.open(tmp_path / "large").domain))
