"""Domains without napari: the task, its result, the command line, edits, evaluation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import ome_zarr_models.v05 as ome
import pandas as pd
import pytest
import zarr

import napari_stenhance as st
from bands import PITCH, QUICK, banded, find, quick, write_field, write_spots
from napari_stenhance.results.domain_edit import DomainEdit
from napari_stenhance.results.domains import domain_run, domain_runs
from napari_stenhance.results.edit_history import EditHistory
from napari_stenhance.results.inputs import slide_path
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_run
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.domains import DomainsOptions
from napari_stenhance.tasks.domains import domains as run_domains
from napari_stenhance.tasks.edit_domains import EditDomainsOptions, edit_domains
from test_cli import files_of, run


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Bands on disk, and the result of finding them, from the command line."""
    folder = tmp_path_factory.mktemp("domains")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STENHANCE_CACHE", str(folder / "cache"))
        section = write_spots(folder, banded())
        out = folder / "bands.stenhance.zarr"
        ran = run("domains", section, "--n-domains", 4, "--out", out, *QUICK)
    assert "no slide" in ran.stderr
    assert "Domain 4" in ran.stdout
    assert "SYM" in ran.stdout
    return section, out


def test_the_table_keeps_what_the_spots_had(found: tuple[Path, Path]) -> None:
    section, out = found
    given = ad.read_h5ad(section)
    (result,) = domain_runs(ResultFolder.open(out))
    spots = result.spots()
    assert spots is not None
    assert list(spots.obs_names) == list(given.obs_names)
    np.testing.assert_array_equal(spots.X.toarray(), given.X.toarray())
    assert list(spots.obs["band"].astype(str)) == list(given.obs["band"].astype(str))
    np.testing.assert_array_equal(spots.obs["note"], given.obs["note"])
    np.testing.assert_array_equal(spots.obsm["X_pca"], given.obsm["X_pca"])
    assert spots.uns["about"]["donor"] == "a"
    assert list(spots.var["gene_symbol"]) == list(given.var["gene_symbol"])
    assert list(spots.obs["domain"].cat.categories) == [f"Domain {n}" for n in range(1, 5)]
    assert spots.obs["domain_confidence"].between(0, 1).all()
    assert spots.obsm["X_stamgc"].shape[0] == spots.n_obs
    assert list(spots.uns["domain_colors"]) == [d.colour for d in result.domains]
    # Zarr v3 throughout: the group's own format.
    raw = zarr.open_group(out, mode="r")
    assert raw["tables/spots"].metadata.zarr_format == 3
    sizes = spots.obs["domain"].value_counts().loc[spots.obs["domain"].cat.categories]
    assert sizes.is_monotonic_decreasing


def test_provenance_and_nothing_of_the_machine(found: tuple[Path, Path]) -> None:
    _, out = found
    about = domain_run(ResultFolder.open(out)).attributes
    assert about["seed"] == 0
    assert {"python", "torch", "napari-stenhance"} <= set(about["versions"])
    (input_,) = about["identity"]["found_in"]
    assert len(input_["spots_sha256"]) == 64
    assert input_["slide_sha256"] is None
    content = b"".join(files_of(out).values())
    assert str(out.parent).encode() not in content


def test_the_label_image_is_ome_zarr_without_gaps(found: tuple[Path, Path]) -> None:
    _, out = found
    result = domain_run(ResultFolder.open(out))
    image = ome.ImageLabel.from_zarr(result.group)
    assert image.ome_attributes.multiscales[0].axes[0].unit == "micrometer"
    listed = dict(zarr.open_group(out / "labels", mode="r").attrs)["ome"]
    assert listed == {"version": "0.5", "labels": ["stamgc-robust"]}
    label = result.group.attrs["ome"]["image-label"]  # type: ignore[index,call-overload]
    assert [p["name"] for p in label["properties"]] == [d.name for d in result.domains]
    assert label["colors"][0]["rgba"] == [230, 159, 0, 255]
    pixels = np.asarray(result.levels[0][...])
    spots, grid = result.spots(), result.grid
    assert spots is not None
    assert grid.pitch_um == PITCH / 8
    at = np.rint(grid.position(spots.obsm["spatial"] * 0.5)).astype(int)
    codes = spots.obs["domain"].cat.codes.to_numpy() + 1
    np.testing.assert_array_equal(pixels[tuple(at.T)], codes)
    inside = pixels[at[:, 0].min() : at[:, 0].max(), at[:, 1].min() : at[:, 1].max()]
    assert (inside > 0).all()
    assert pixels[0, 0] == 0


def test_the_summary_counts_and_names_markers(found: tuple[Path, Path]) -> None:
    _, out = found
    result = domain_run(ResultFolder.open(out))
    summary, spots = result.summary(), result.spots()
    assert spots is not None
    assert summary["spots"].sum() == spots.n_obs
    pixels = np.asarray(result.levels[0][...])
    for name, row in summary.iterrows():
        area = (pixels == row["domain"]).sum() * (result.grid.pitch_um / 1000) ** 2
        assert row["area_mm2"] == pytest.approx(area)
        truth = spots.obs["band"][spots.obs["domain"] == name].mode()[0]
        number = int(truth[1:])
        wanted = {f"SYM{n}" for n in range(6 * number, 6 * number + 6)}
        assert row["markers"].split(", ")[0] in {*wanted, ""}
    assert (summary["markers"] != "").sum() > 1
    table = result.table()
    assert table.layers["padj"].min() < 0.01
    assert table.shape == (4, 24)


@pytest.mark.slow
def test_the_same_command_is_complete_and_other_options_are_another_run(
    found: tuple[Path, Path], tmp_path: Path
) -> None:
    section, out = found
    copy = tmp_path / "copy.stenhance.zarr"
    shutil.copytree(out, copy)
    before = files_of(copy)
    command = ("domains", section, "--out", copy, *QUICK)
    ran = run(*command, "--n-domains", 4)
    assert "already complete" in ran.stderr
    assert files_of(copy) == before
    run(*command, "--n-domains", 3)
    names = [r.name for r in domain_runs(ResultFolder.open(copy))]
    assert names == ["stamgc-robust", "stamgc-robust-2"]
    after = files_of(copy)
    assert (copy / "tables" / "spots-2").is_dir()
    kept = [name for name in before if name.startswith(("labels/stamgc-robust/", "tables/spots/"))]
    assert [name for name in kept if after[name] != before[name]] == []
    text = run("info", copy).output
    assert "Domains stamgc-robust-2: 3 domains, of spots" in text
    assert "Slide: none" in text


def test_again_gives_the_same_bytes_and_a_killed_run_is_replaced(
    found: tuple[Path, Path], tmp_path: Path
) -> None:
    section, out = found
    again = tmp_path / "again.stenhance.zarr"
    find(section, out=again, n_domains=4)
    assert files_of(again) == files_of(out)
    # As a process leaves it that dies before the last write.
    metadata = again / "labels" / "stamgc-robust" / "zarr.json"
    content = json.loads(metadata.read_text())
    del content["attributes"]["stenhance"]
    metadata.write_text(json.dumps(content))
    shutil.rmtree(again / "tables" / "stamgc-robust")
    assert domain_runs(ResultFolder.open(again)) == ()
    find(section, out=again, n_domains=4)
    assert files_of(again) == files_of(out)


def test_a_folder_that_is_not_ours_and_other_bad_input(
    found: tuple[Path, Path], small_files: list[Path], tmp_path: Path
) -> None:
    section, out = found
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")

    def sentence(*arguments: object) -> str:
        ran = run("domains", *arguments, code=2)
        (line,) = (line for line in ran.stderr.splitlines() if line.startswith("Error:"))
        return line

    assert "nothing was touched" in sentence(section, "--out", theirs)
    assert [f.name for f in theirs.iterdir()] == ["thesis.txt"]
    new = tmp_path / "new.stenhance.zarr"
    assert "2 to 255" in sentence(section, "--out", new, "--n-domains", 1)
    assert "too few" in sentence(section, "--out", new, "--n-domains", 200)
    assert "result of spots without a slide (bands)" in sentence(small_files[0], "--out", out)
    assert "there is no gene field" in sentence(out)
    assert "together" in sentence(section, out, "--out", new)
    logged = banded()
    logged.X = logged.X.log1p()
    other = write_spots(tmp_path / "log", logged)
    assert "raw counts" in sentence(other, "--out", new)
    assert not new.exists()


def test_control_features_alone_are_refused(tmp_path: Path) -> None:
    spots = banded()
    spots.var_names = [f"BLANK_{n}" for n in range(spots.n_vars)]
    section = st.Section(spots=spots, name="controls")
    with pytest.raises(st.InputError, match="only control features"):
        run_domains(DomainsOptions(sections=(section,), out=tmp_path / "r", n_domains=2))
    assert not (tmp_path / "r").exists()


def test_without_a_scale_lengths_are_in_pixels(tmp_path: Path) -> None:
    section = write_spots(tmp_path, banded(mpp=None, offset=(-700, -4000)))
    ran = run("domains", section, "--out", tmp_path / "r", "--n-domains", 3, *QUICK)
    assert ran.stderr.count("in pixels") == 1
    assert "mm²" not in ran.stdout
    (result,) = domain_runs(ResultFolder.open(tmp_path / "r"))
    grid, spots = result.grid, result.spots()
    assert spots is not None
    assert grid.unit == "pixel"
    assert grid.origin_um[0] < -700
    assert result.summary()["area_mm2"].isna().all()
    at = np.rint(grid.position(spots.obsm["spatial"])).astype(int)
    labels = np.asarray(result.levels[0][...])[tuple(at.T)]
    np.testing.assert_array_equal(labels, spots.obs["domain"].cat.codes + 1)
    axes = result.group.attrs["ome"]["multiscales"][0]["axes"]  # type: ignore[index,call-overload]
    assert axes == [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    assert spots.uns["stenhance"]["unit"] == "pixel"


@pytest.mark.slow
def test_several_sections_share_names_and_colours(tmp_path: Path) -> None:
    one = write_spots(tmp_path, banded(0), "one")
    # Another lattice, and a gene that was not measured there.
    two = write_spots(tmp_path, banded(1, side=12, genes=range(1, 24)), "two")
    notes: list[str] = []
    job = st.Job(listener=lambda event: notes.append(getattr(event, "text", "")))
    options = quick((one, two), out=tmp_path / "both", n_domains=4)
    runs = run_domains(options, job)
    assert [r.result.name for r in runs] == ["one", "two"]
    assert sorted(f.name for f in (tmp_path / "both").iterdir()) == [
        "one.stenhance.zarr", "two.stenhance.zarr"
    ]  # fmt: skip
    assert runs[0].domains == runs[1].domains
    assert any("1 gene that not every section measured" in note for note in notes)
    named = []
    for each in runs:
        spots = each.spots()
        assert spots is not None
        named.append(spots.obs.groupby("band", observed=True)["domain"].agg(lambda d: d.mode()[0]))
        assert list(spots.uns["domain_colors"]) == [d.colour for d in runs[0].domains]
    assert dict(named[0].astype(str)) == dict(named[1].astype(str))
    # In one command or with one missing, the same.
    shutil.rmtree(tmp_path / "both" / "two.stenhance.zarr")
    before = files_of(tmp_path / "both")
    run_domains(options)
    assert {k: v for k, v in files_of(tmp_path / "both").items() if k in before} == before


def test_a_section_with_its_slide_lies_on_the_grid_of_genes(
    small_files: list[Path], tmp_path: Path
) -> None:
    (result,) = find(small_files[0], out=tmp_path / "r", n_domains=3)
    slide = open_section(small_files[0]).need_slide()
    assert result.grid == Grid.over(slide, 8.0)
    assert result.result.has_slide
    assert slide_path(result.result) is not None


@pytest.mark.slow
def test_superpixels_of_a_field(
    small_files: list[Path], tmp_path: Path, session_cache: Cache
) -> None:
    out = tmp_path / "one.stenhance.zarr"
    result = write_field(out, open_section(small_files[0]), session_cache)
    ran = run("domains", out, "--n-domains", 3, *QUICK)
    assert "superpixels" in ran.stdout
    (domains,) = domain_runs(ResultFolder.open(out))
    assert domains.spots() is None
    field = field_run(result).field
    assert domains.grid == field.grid
    pixels = np.asarray(domains.levels[0][...])
    np.testing.assert_array_equal(pixels > 0, np.isfinite(field.image("G1")))
    summary = domains.summary()
    assert summary["superpixels"].sum() == (pixels > 0).sum()
    # What the summary says of a gene is the mean of its image, where it is not clipped.
    table = domains.table()
    mean = np.nanmean(field.image("G5")[pixels == 1])
    assert table["Domain 1", "G5"].X.item() == pytest.approx(mean, rel=0.02)
    assert "already complete" in run("domains", out, "--n-domains", 3, *QUICK).stderr
    assert "no other folder (--out)." in run("domains", out, "--out", tmp_path / "x", code=2).stderr
    edited = edit_domains(EditDomainsOptions(out, merge="3=1"))
    assert edited.summary().loc["Domain 1", "superpixels"] == np.isin(pixels, (1, 3)).sum()
    # Spots of the same section go beside it.
    (spots,) = find(small_files[0], out=out, n_domains=3)
    assert spots.name == "stamgc-robust-2"
    assert len(domain_runs(ResultFolder.open(out))) == 3


def test_edits_without_napari(found: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.stenhance.zarr"
    shutil.copytree(found[1], copy)
    before = files_of(copy)
    edit = ("edit-domains", copy, "--rename", "1=Cortex", "--merge", "4=3", "--hide", "2",
            "--recolour", "3=#0a0b0c")  # fmt: skip
    assert "Cortex" in run(*edit).stdout
    after = files_of(copy)
    changed = [name for name in before if after[name] != before[name]]
    assert changed == ["labels/zarr.json"]
    first, edited = domain_runs(ResultFolder.open(copy))
    assert edited.name == "stamgc-robust-edited"
    spots, original = edited.spots(), first.spots()
    assert spots is not None
    assert original is not None
    expected = (
        original.obs["domain"].astype(str).replace({"Domain 1": "Cortex", "Domain 4": "Domain 3"})
    )
    assert list(spots.obs["domain"].astype(str)) == list(expected)
    assert "domain_input" not in spots.obs
    colours = edited.group.attrs["ome"]["image-label"]["colors"]  # type: ignore[index,call-overload]
    assert [c["rgba"][3] for c in colours] == [255, 0, 255]
    assert (edited.domains[2].colour, colours[2]["rgba"]) == ("#0A0B0C", [10, 11, 12, 255])
    # Once more is nothing new; an edit of an edit is one more.
    run(*edit, "--run", "stamgc-robust")
    assert files_of(copy) == after
    assert "already complete" in run(*edit).stderr
    assert files_of(copy) == after
    again = edit_domains(EditDomainsOptions(copy, rename="Cortex=White matter"))
    assert again.name == "stamgc-robust-edited-2"
    for wrong, said in (
        (("--merge", "9=1"), "no domain 9"),
        (("--merge", "1=1"), "itself"),
        (("--rename", "1"), "DOMAIN=NEW"),
        (("--rename", "1=Domain 2"), "merge them"),
        (("--recolour", "1=red"), "write a colour as #RRGGBB"),
        (("--run", "other"), "no domain run"),
    ):
        assert said in run("edit-domains", copy, *wrong, code=2).stderr


@pytest.mark.slow
def test_what_an_edit_says_before_it_is_saved_is_what_is_written(
    found: tuple[Path, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.stenhance.zarr"
    shutil.copytree(found[1], copy)
    run = domain_run(ResultFolder.open(copy))
    raster = np.asarray(run.levels[0][...])
    edit = DomainEdit.from_run(run).merge(4, 3)
    painted = edit.raster()
    painted[painted == 2] = 9
    for change in (edit, edit.paint(painted), edit.paint(painted).merge(9, 1).hide(3)):
        said = change.summary()
        saved = change.save()
        pd.testing.assert_frame_equal(said, saved.summary(), check_dtype=False)
        assert said["spots"].sum() == 196
    # Other names and colours change no number, and what was merged is as sure as it was.
    named = DomainEdit.from_run(run).rename(1, "Cortex").recolour(2, "#112233")
    counts = named.save().table()
    np.testing.assert_array_equal(counts.X, run.table().X)
    np.testing.assert_array_equal(counts.layers["padj"], run.table().layers["padj"])
    spots, before = edit.paint(edit.raster()).save().spots(), run.spots()
    assert spots is not None
    assert before is not None
    np.testing.assert_array_equal(spots.obs["domain_confidence"], before.obs["domain_confidence"])
    assert (raster == 4).any()


def test_steps_are_undone_and_done_again(found: tuple[Path, Path]) -> None:
    history = EditHistory.from_run(domain_run(ResultFolder.open(found[1])))
    assert (history.changes, history.can_undo, history.can_redo) == (0, False, False)
    first = history.do(history.now.rename(1, "A"))
    second = first.do(first.now.merge(4, 3))
    assert second.do(second.now.rename(1, "A")) is second
    assert (second.changes, len(second.now.domains)) == (2, 3)
    back = second.undo()
    assert (back.now, back.changes, back.can_redo) == (first.now, 1, True)
    assert back.redo() == second
    assert back.undo().undo().now == history.now
    other = back.do(back.now.hide(2))
    assert (other.changes, other.can_redo) == (2, False)
    # Steps that lead back leave nothing to be saved.
    assert first.do(first.now.rename(1, "Domain 1")).changes == 0


def test_a_real_olfactory_bulb(data: Path, tmp_path: Path) -> None:
    (result,) = find(data / "mob" / "rep11.h5ad", out=tmp_path / "r", n_domains=5)
    assert result.summary()["spots"].sum() == 262
    assert result.grid.unit == "micrometer"


@pytest.mark.slow
def test_memory_changes_no_value_and_what_does_not_fit_is_refused(
    section_files: list[Path], tmp_path: Path, session_cache: Cache
) -> None:
    section = open_section(section_files[0])
    large, small = tmp_path / "large.stenhance.zarr", tmp_path / "small.stenhance.zarr"
    field = write_field(large, section, session_cache, 4.0, 0.004).field("m-e-p")
    assert len(field.latent) > 1
    shutil.copytree(large, small)
    with pytest.raises(st.InputError, match=r"of 4 µm take .* choose superpixels of 8 µm") as no:
        run_domains(quick(small, n_domains=3), Job(memory_bytes=27_000))
    assert no.value.option == "superpixel_um"
    assert domain_runs(ResultFolder.open(small)) == ()
    for out, memory in ((large, 2**31), (small, 63_000)):
        (found,) = run_domains(quick(out, n_domains=3), Job(memory_bytes=memory))
        assert found.grid.pitch_um == 4
        # What is asked for by its own width is the same run.
        (same,) = run_domains(quick(out, n_domains=3, superpixel_um=4.0))
        assert same.name == found.name
    assert files_of(large) == files_of(small)
    (coarse,) = run_domains(quick(small, n_domains=3, superpixel_um=8.0), Job(memory_bytes=27_000))
    assert coarse.grid.pitch_um == 8
    assert coarse.attributes["field"]["level"] == 1
    with pytest.raises(st.InputError, match="free some memory"):
        run_domains(quick(large, n_domains=4), Job(memory_bytes=10))
    for wrong in (12.0, -8.0, float("nan")):
        with pytest.raises(st.InputError, match=r"no superpixels of .* choose one of 4, 8"):
            run_domains(quick(large, superpixel_um=wrong))
    with pytest.raises(st.InputError, match="the scale of that, already"):
        run_domains(quick(large, mpp=0.5))
    with pytest.raises(st.InputError, match="Spots have no superpixels"):
        run_domains(quick(section_files[0], out=tmp_path / "x", superpixel_um=8.0))
