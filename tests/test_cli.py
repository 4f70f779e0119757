from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from typer.testing import CliRunner
from typer.testing import Result as Ran

import napari_stenhance as st
from napari_stenhance.cli import app
from napari_stenhance.results.inputs import slide_path
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_run
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.seal import json_crc32
from napari_stenhance.storage.tiles import missing_tiles
from napari_stenhance.tasks.enhance import EnhanceOptions
from napari_stenhance.tasks.enhance import enhance as run_enhance
from test_section import edit_counts, write_legacy

EPOCHS = 12
QUICK = ("--device", "cpu", "--epochs", EPOCHS)


def run(*arguments: object, code: int = 0) -> Ran:
    ran = CliRunner().invoke(app, [str(a) for a in arguments])
    assert ran.exit_code == code, ran.output + ran.stderr
    return ran


@pytest.fixture(scope="module")
def result(small_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One section enhanced on another's slide, from the command line."""
    out = tmp_path_factory.mktemp("cli") / "two.stenhance.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STENHANCE_CACHE", str(out.parent / "cache"))
        run(
            "enhance", small_files[0], "--predict", small_files[1], "--out", out,
            "--write", "G1,G20", *QUICK,
        )  # fmt: skip
    return out


def files_of(folder: Path) -> dict[str, bytes]:
    """Read every file of a result but the log."""
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and f.name != "log.jsonl"
    }


def events_of(folder: Path) -> list[str]:
    lines = (folder / "files" / "log.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["event"] for line in lines]


def test_help_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("--version").output.strip()
    for command in ("enhance", "predict", "domains", "evaluate", "export", "convert", "info"):
        assert "[µm per pixel]" in run(command, "--help").output
    enhance = run("enhance", "--help").output
    for option in ("--method", "--predict", "--genes", "--write", "--region", "--encoder",
                   "--preset", "--mpp", "--device", "--seed", "--out", "--epochs"):  # fmt: skip
        assert option in enhance


def test_enhance_makes_a_result(result: Path, small_files: list[Path]) -> None:
    opened = ResultFolder.open(result)
    assert opened.runs == ("pixel2gene-stain-robust",)
    about = opened.run_attributes(opened.runs[0])
    assert about["complete"]
    assert about["seed"] == 0
    assert [s["name"] for s in about["identity"]["learned_from"]] == ["one"]
    assert {"python", "torch", "napari-stenhance"} <= set(about["versions"])
    field = opened.field(opened.runs[0])
    assert len(field.genes) == 40
    for raster in (*field.latent, *field.spread):
        assert missing_tiles(raster) == []
    image = field.image("G1")
    np.testing.assert_array_equal(np.isfinite(image), opened.tissue())
    for part in ("tissue", "fields/pixel2gene-stain-robust/genes/G20"):
        assert (result / part / "zarr.json").exists()
    model = result / "files" / "models" / "pixel2gene-stain-robust"
    assert sorted(f.name for f in model.iterdir()) == ["config.json", "weights.safetensors"]
    # Nothing of the machine is in it, but in the log.
    content = b"".join(files_of(result).values())
    assert str(small_files[0].parent).encode() not in content


def test_predictions_follow_the_slide_that_was_not_measured(
    result: Path, small_files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "two.h5ad"
    run("export", result, "--to", "h5ad", "--at-spots", small_files[1], "--out", out)
    predicted = ad.read_h5ad(out)
    measured = ad.read_h5ad(small_files[1])
    assert list(predicted.obs_names) == list(measured.obs_names)
    assert predicted.shape == measured.shape
    np.testing.assert_allclose(predicted.obsm["spatial"], measured.obsm["spatial"])
    counts = measured.X.toarray()
    truth = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    r = [np.corrcoef(predicted.X[:, g], truth[:, g])[0, 1] for g in range(40)]
    assert np.median(r[:13]) > 0.4
    assert np.median(r[13:26]) > 0.4
    assert predicted.uns["stenhance_prediction"]["unit"] == "log1p CP10k"
    assert predicted.var["held_out_r"].notna().all()
    assert predicted.var["held_out_r_given_depth"].notna().all()
    assert "On what was held out, of 40 genes: median r 0." in run("info", result).stdout
    run("export", result, "--at-spots", small_files[1], "--out", out, code=2)


def test_export_at_spots_is_the_mean_over_each_disc(
    result: Path, small_files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "some.h5ad"
    run("export", result, "--at-spots", small_files[1], "--genes", "G4,G2", "--out", out)
    table = ad.read_h5ad(out)
    assert list(table.var_names) == ["G4", "G2"]
    opened = ResultFolder.open(result)
    field = opened.field(opened.runs[0])
    image = field.image("G4")
    section = open_section(small_files[1])
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    centres = field.grid.centres_um(y, x)
    for n in (0, 9, 18):
        disc = np.hypot(*(centres - section.spots_um()[n]).transpose(2, 0, 1)) <= 27.5
        inside = disc & np.isfinite(image)
        assert table.obs["superpixels"].iloc[n] == inside.sum()
        assert table.X[n, 0] == pytest.approx(image[inside].mean(), rel=1e-4)


def test_export_of_superpixels(result: Path, tmp_path: Path) -> None:
    out = tmp_path / "superpixels.h5ad"
    assert "superpixels needs genes" in run("export", result, "--out", out, code=2).stderr
    run("export", result, "--genes", "G1", "--out", out)
    table = ad.read_h5ad(out)
    opened = ResultFolder.open(result)
    field = opened.field(opened.runs[0])
    assert table.n_obs == opened.tissue().sum()
    image = field.image("G1")
    # Matrix products of another shape may differ in the last bit.
    there = image[table.obs["row"], table.obs["column"]]
    np.testing.assert_allclose(table.X[:, 0], there, rtol=1e-5)
    xy_um = table.obsm["spatial"] * field.grid.mpp
    back = np.rint(field.grid.position(xy_um)).astype(int)
    np.testing.assert_array_equal(back, table.obs[["row", "column"]])
    # A table of superpixels is a table of spots: bins of 8 µm.
    assert st.Section(spots=table, name="bins").geometry().spot_shape == "square"


def test_the_same_command_is_already_complete_and_another_seed_is_a_new_run(
    result: Path, small_files: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.stenhance.zarr"
    shutil.copytree(result, copy)
    before = files_of(copy)
    command = ("enhance", small_files[0], "--predict", small_files[1], "--out", copy)
    ran = run(*command, *QUICK)
    assert "already complete" in ran.stderr
    assert files_of(copy) == before
    run(*command, "--seed", "1", *QUICK)
    assert ResultFolder.open(copy).runs == (
        "pixel2gene-stain-robust",
        "pixel2gene-stain-robust-2",
    )


def test_the_same_command_gives_the_same_bytes(
    result: Path, small_files: list[Path], tmp_path: Path
) -> None:
    again = run_enhance(
        EnhanceOptions(
            sections=(str(small_files[0]),),
            predict=(small_files[1],),
            out=str(tmp_path / "again"),
            write="G1,G20",
            device="cpu",
            epochs=EPOCHS,
        )
    )
    first, second = files_of(result), files_of(again[0].path)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_more_genes_are_written_without_computing_anything_again(
    result: Path, small_files: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.stenhance.zarr"
    shutil.copytree(result, copy)
    (copy / "files" / "log.jsonl").unlink()
    run("enhance", small_files[0], "--predict", small_files[1], "--out", copy,
        "--write", "G3", *QUICK)  # fmt: skip
    assert (copy / "fields" / "pixel2gene-stain-robust" / "genes" / "G3").is_dir()
    events = events_of(copy)
    assert events == ["slide", "section", "command", "complete"]


def test_write_adds_gene_images_of_the_same_bytes(result: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.stenhance.zarr"
    shutil.copytree(result, copy)
    shutil.rmtree(copy / "fields" / "pixel2gene-stain-robust" / "genes" / "G20")
    run("write", copy, "--genes", "G20")
    assert files_of(copy) == files_of(result)
    failed = run("write", copy, "--genes", "G20,NOTAGENE", code=2)
    assert "NOTAGENE" in failed.stderr
    failed = run("write", tmp_path, "--genes", "G20", code=2)
    assert "no result of napari-stenhance" in failed.stderr


def test_a_region_limits_the_prediction_and_reuses_the_model(
    result: Path, small_files: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.stenhance.zarr"
    shutil.copytree(result, copy)
    ring = [[230, 270], [300, 270], [300, 330], [230, 330], [230, 270]]
    region = tmp_path / "region.geojson"
    region.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    run("enhance", small_files[0], "--predict", small_files[1], "--out", copy,
        "--region", region, *QUICK)  # fmt: skip
    opened = ResultFolder.open(copy)
    whole, part = (opened.field(run_name) for run_name in opened.runs)
    inside = st.Region.read(region).mask(part.grid) & opened.tissue()
    image = part.image("G5")
    np.testing.assert_array_equal(np.isfinite(image), inside)
    np.testing.assert_allclose(image[inside], whole.image("G5")[inside], rtol=1e-5)
    events = events_of(copy)
    assert events.count("trained") == 1
    kept = opened.region(opened.runs[1])
    assert kept is not None
    assert kept.area.equals(st.Region.read(region).area)
    assert opened.region(opened.runs[0]) is None
    whole, inside_it = (
        line for line in run("info", opened.path).output.splitlines() if "Run " in line
    )
    assert whole.endswith(", seed 0")
    assert inside_it.endswith(", seed 0, inside a region")
    where = slide_path(opened)
    assert where is not None
    assert where.name == "two_he.jpg"
    region.write_text(
        json.dumps({"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]})
    )
    ran = run("enhance", small_files[0], "--predict", small_files[1], "--out", copy,
              "--region", region, *QUICK, code=2)  # fmt: skip
    assert "holds no tissue" in ran.stderr
    assert "Training" not in ran.stderr


@pytest.mark.slow
def test_without_predict_each_section_gets_its_own_result(
    small_files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "both"
    ran = run("enhance", *small_files, "--out", out, "--genes", "hvg:9", *QUICK)
    names = ["one.stenhance.zarr", "two.stenhance.zarr"]
    assert sorted(f.name for f in out.iterdir()) == names
    assert ran.stdout.split() == [str(out / name) for name in names]
    models = [out / n / "files/models/pixel2gene-stain-robust/weights.safetensors" for n in names]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert len(ResultFolder.open(out / names[1]).field("pixel2gene-stain-robust").genes) == 9


def test_predict_with_a_saved_model(result: Path, small_files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "one.stenhance.zarr"
    run("predict", result, "--on", small_files[0], "--out", out, "--device", "cpu")
    predicted = ResultFolder.open(out)
    assert predicted.attributes["slide"]["name"] == "one"
    # The same model on its own slide is what enhance would have made.
    own = tmp_path / "own.stenhance.zarr"
    run("enhance", small_files[0], "--out", own, *QUICK)
    images = [r.field(r.runs[0]).image("G8") for r in (predicted, ResultFolder.open(own))]
    np.testing.assert_array_equal(*images)
    assert (
        "already complete"
        in run("predict", result, "--on", small_files[0], "--out", out, "--device", "cpu").stderr
    )


@pytest.mark.parametrize(("key", "value"), [("encoder_identity", "stain0"), ("pitch_um", 16.0)])
def test_predict_refuses_a_model_of_other_features(
    result: Path, small_files: list[Path], tmp_path: Path, key: str, value: object
) -> None:
    copy = tmp_path / "copy.stenhance.zarr"
    shutil.copytree(result, copy)
    config = copy / "files" / "models" / "pixel2gene-stain-robust" / "config.json"
    changed = {**json.loads(config.read_text()), key: value}
    del changed["crc32"]
    config.write_text(json.dumps({**changed, "crc32": json_crc32(changed)}))
    ran = run("predict", copy, "--on", small_files[0], "--out", tmp_path / "o", code=2)
    assert "the model learned from" in ran.stderr
    assert not (tmp_path / "o").exists()


def test_predict_refuses_an_encoder_that_is_not_the_models(
    result: Path, small_files: list[Path], tmp_path: Path
) -> None:
    other = "timm:test_vit?pretrained=false"
    ran = run("predict", result, "--on", small_files[0], "--out", tmp_path / "o",
              "--encoder", other, code=2)  # fmt: skip
    assert "give the encoder, and the weights, of the model (--encoder)." in ran.stderr
    assert not (tmp_path / "o").exists()


def test_info_says_what_it_is(result: Path, small_files: list[Path], tmp_path: Path) -> None:
    text = run("info", small_files[0]).output
    assert "Section one" in text
    assert "670 × 800 px" in text
    assert "19 × 40 genes" in text
    assert "No doubts" in text
    text = run("info", result).output
    assert "pixel2gene-stain-robust (complete): learned from one, seed 0" in text
    assert "2 written as images" in text
    text = run("info", write_legacy(tmp_path / "S1")).output
    assert "Doubt: The scale" in text


def test_sections_made_in_python(small_files: list[Path], tmp_path: Path) -> None:
    opened = open_section(small_files[0])
    section = st.Section(slide=opened.slide, spots=ad.read_h5ad(small_files[0]), name="mine")
    notes: list[str] = []
    job = st.Job(listener=lambda event: notes.append(getattr(event, "text", "")))
    (result,) = run_enhance(
        EnhanceOptions(
            sections=section, out=tmp_path / "r", genes="G1,G2,G3", device="cpu", epochs=2
        ),
        job,
    )
    assert field_run(result).field.genes == ("G1", "G2", "G3")


def test_bad_input_is_one_sentence_and_exit_code_2(small_files: list[Path], tmp_path: Path) -> None:
    good = small_files[0]
    out = tmp_path / "r.stenhance.zarr"

    def sentence(*arguments: object) -> str:
        ran = run(*arguments, code=2)
        errors = [line for line in ran.stderr.splitlines() if line.startswith("Error:")]
        assert len(errors) == 1
        assert "Traceback" not in ran.stderr
        assert ran.stdout == ""
        assert not out.exists()
        return errors[0]

    assert "no such file" in sentence("enhance", tmp_path / "none", "--out", out)
    apart = write_legacy(tmp_path / "apart")
    edit_counts(apart, lambda text: text.replace("x", "x9"))
    assert "do not belong together" in sentence("enhance", apart, "--out", out)
    negative = write_legacy(tmp_path / "negative")
    edit_counts(negative, lambda text: text.replace("\t0", "\t-3", 1))
    assert "is -3; counts must be" in sentence("enhance", negative, "--out", out)
    nan = write_legacy(tmp_path / "nan")
    edit_counts(nan, lambda text: text.replace("\t0", "\tnan", 1))
    assert "is nan; counts must be" in sentence("enhance", nan, "--out", out)
    unscaled = ad.read_h5ad(good)
    unscaled.uns.clear()
    folder = tmp_path / "unscaled"
    folder.mkdir()
    unscaled.write_h5ad(folder / "s.h5ad")
    shutil.copy(good.parent / "one_he.jpg", folder / "s.jpg")
    assert "--mpp" in sentence("enhance", folder, "--out", out)
    assert "GX" in sentence("enhance", good, "--out", out, "--genes", "G1,GX")
    assert "no such device" in sentence("enhance", good, "--out", out, "--device", "mps")
    assert "no such region" in sentence("enhance", good, "--out", out, "--region", tmp_path / "x")
    assert "no result" in sentence("predict", tmp_path, "--on", good, "--out", out)
    assert "no result" in sentence("export", tmp_path, "--out", tmp_path / "t.h5ad")


def test_an_out_path_that_is_not_ours_is_not_touched(
    small_files: list[Path], tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    file = tmp_path / "file.zarr"
    file.write_text("mine")
    for out in (theirs, file):
        ran = run("enhance", small_files[0], "--out", out, code=2)
        assert "nothing was touched" in ran.stderr
    assert (theirs / "thesis.txt").read_text() == "years of work"
    assert [f.name for f in theirs.iterdir()] == ["thesis.txt"]
    assert file.read_text() == "mine"
