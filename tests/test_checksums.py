"""What lies in a result is what was written: chunks, files, attributes, models, old results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from typer.testing import CliRunner

from made_sections import write_image
from napari_stenhance.cli import app
from napari_stenhance.errors import InputError
from napari_stenhance.methods.registry import load_fitted
from napari_stenhance.results.domains import domain_run
from napari_stenhance.results.genes import is_written, write_gene, written_genes
from napari_stenhance.results.imputed import imputed_run
from napari_stenhance.results.proof import UNPROVEN, verify_run
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun, every_run, gene_run
from napari_stenhance.results.tables import open_table
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.manifest import (
    check_files,
    list_files,
    read_manifest,
    verify_files,
    write_manifest,
)
from napari_stenhance.storage.pyramid import create_levels
from napari_stenhance.storage.tiles import create_array
from napari_stenhance.tasks.info import InfoOptions, info
from test_anndata_layouts import without_compression
from tiny_result import (
    DOMAINS,
    GRID,
    IMPUTED,
    RUN,
    as_format_1,
    fill_field,
    make_decoder,
    make_result,
)

LATENT = f"fields/{RUN}/latent/s0/c/0/0/0"


@pytest.fixture
def path(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny result, to be damaged."""
    return Path(shutil.copytree(tiny, tmp_path / "r.stenhance.zarr"))


@pytest.fixture
def old(path: Path) -> Path:
    as_format_1(path)
    return path


def _flip(file: Path, at: int = -20) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 16
    file.write_bytes(content)


# Chunks


def test_every_chunk_of_a_result_carries_a_checksum(tiny: Path) -> None:
    arrays = []
    for file in tiny.rglob("zarr.json"):
        about = json.loads(file.read_text())
        # Of nothing, which is what anndata writes for a table without raw counts, there is no sum.
        if about["node_type"] == "array" and about["attributes"].get("encoding-type") != "null":
            arrays.append(file)
            assert about["codecs"][-1]["name"] == "crc32c", file
    assert len(arrays) > 50


def test_inside_a_shard_each_chunk_has_its_own(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    (level,) = create_levels(group, (8, 8), tile=8, dtype="f2", channels=3, apart=True)
    level[...] = np.random.default_rng(0).random((8, 8, 3))
    (sharding,) = json.loads((tmp_path / "a.zarr/s0/zarr.json").read_text())["codecs"]
    assert sharding["configuration"]["codecs"][-1]["name"] == "crc32c"
    _flip(tmp_path / "a.zarr/s0/c/0/0/0", 40)
    with pytest.raises(InputError, match=r"s0/c/0/0/0: this is damaged \(its checksum"):
        level[...]


@pytest.mark.parametrize("what", ["flipped", "cut", "empty"])
def test_a_damaged_chunk_is_named(path: Path, what: str) -> None:
    field = ResultFolder.open(path).field(RUN)
    file = path / LATENT
    if what == "flipped":
        _flip(file)
    else:
        file.write_bytes(file.read_bytes()[: 0 if what == "empty" else 1000])
    with pytest.raises(InputError, match=f"{LATENT}: this is damaged"):
        field.image("A")
    assert np.isfinite(field.image("A", rows=slice(64, 90))).all(), "the others can be read"


@pytest.mark.parametrize("cut", [0, 10, 1000, -1])
def test_a_chunk_of_format_1_that_is_cut_short_is_not_read_beyond_its_end(
    old: Path, cut: int
) -> None:
    file = old / LATENT
    file.write_bytes(file.read_bytes()[:cut])
    field = ResultFolder.open(old).field(RUN)
    with pytest.raises(InputError, match=f"{LATENT}: this is damaged"):
        field.image("A")


def test_a_chunk_that_claims_more_than_it_holds_is_not_allocated(old: Path) -> None:
    file = old / LATENT
    content = bytearray(file.read_bytes())
    content[4:8] = (2**31).to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(InputError, match="it holds 2147483648 bytes of values, and should hold"):
        ResultFolder.open(old).field(RUN).image("A")


def test_an_array_that_claims_more_than_its_files_hold_is_refused(old: Path) -> None:
    file = old / f"fields/{RUN}/decoder/b/zarr.json"
    about = json.loads(file.read_text())
    about["shape"] = [10**6]
    file.write_text(json.dumps(about))
    with pytest.raises(InputError, match="which cannot hold them"):
        ResultFolder.open(old).field(RUN)


def test_tables_are_refused_where_they_are_damaged(path: Path) -> None:
    result = ResultFolder.open(path)
    _flip(path / f"tables/{RUN}-lattice2/X/c/0/0", -6)
    with pytest.raises(InputError, match=rf"tables/{RUN}-lattice2: this cannot be read"):
        open_table(result, f"{RUN}-lattice2")
    # Room for as many texts as it claims would be made at once.
    chunk = without_compression(path / "tables" / DOMAINS / "obs" / "_index")
    content = chunk.read_bytes()
    open_table(result, DOMAINS)
    chunk.write_bytes((10**9).to_bytes(4, "little") + content[4:])
    with pytest.raises(InputError, match=r"obs/_index\S* is damaged: a chunk claims 10{9} texts"):
        open_table(result, DOMAINS)


# Manifests


def test_what_is_missing_or_cut_short_is_named_when_a_run_is_opened(path: Path) -> None:
    chunks = {
        LATENT: lambda: ResultFolder.open(path).field(RUN),
        f"fields/{RUN}/genes/C%2Fc/s0/c/1/0": lambda: ResultFolder.open(path).field(RUN),
        f"tables/{RUN}-lattice2/X/c/0/0": lambda: ResultFolder.open(path).field(RUN),
        "tissue/s0/c/0/0": lambda: ResultFolder.open(path).field(RUN),
        f"labels/{DOMAINS}/s0/c/0/0": lambda: domain_run(ResultFolder.open(path)),
        "tables/spots/obsm/spatial/c/0/0": lambda: domain_run(ResultFolder.open(path)),
        f"imputed/{IMPUTED}/index/s1/c/0/0": lambda: imputed_run(ResultFolder.open(path)),
        f"imputed/{IMPUTED}/genes/A/s0/c/0/0": lambda: imputed_run(ResultFolder.open(path)),
    }
    for key, read in chunks.items():
        file = path / key
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(InputError, match=f"{key}: this file is missing; copy the result"):
            read()
        file.write_bytes(content[:-1])
        with pytest.raises(InputError, match=f"{key}: this is damaged .* should be {len(content)}"):
            read()
        file.write_bytes(content)
        read()


def test_exchanged_chunks_are_found_by_reading_all(tmp_path: Path) -> None:
    array = create_array(
        zarr.create_group(tmp_path / "a"),
        "x",
        shape=(2, 4096),
        chunks=(1, 4096),
        dtype="u1",
        dimension_names=("y", "x"),
    )
    array[...] = np.random.default_rng(0).integers(0, 256, (2, 4096))
    one, other = (tmp_path / f"a/x/c/{n}/0" for n in (0, 1))
    manifest = list_files(tmp_path, ["a"], [], Job())
    # Of equal size, and their own checksum goes with them.
    content = one.read_bytes()
    assert one.stat().st_size == other.stat().st_size
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    check_files(tmp_path, manifest, "…")
    np.asarray(array[...])
    with pytest.raises(InputError, match=r"c/0/0: this is damaged \(its content is not what was"):
        verify_files(tmp_path, manifest, "…", Job())


def test_manifests_are_the_same_for_the_same_result(
    tiny: Path, tmp_path: Path, session_cache: Cache
) -> None:
    again = make_result(tmp_path, session_cache)
    files = sorted(f.relative_to(tiny) for f in tiny.rglob("*") if f.is_file())
    assert files == sorted(f.relative_to(again) for f in again.rglob("*") if f.is_file())
    different = [f for f in files if (tiny / f).read_bytes() != (again / f).read_bytes()]
    assert [f.as_posix() for f in different] == ["files/log.jsonl"]
    for kind, run in (("fields", RUN), ("labels", DOMAINS), ("imputed", IMPUTED)):
        manifest = read_manifest(tiny / f"files/manifests/{kind}/{run}.jsonl", "…")
        assert list(manifest) == sorted(manifest)
        assert f"{kind}/{run}/zarr.json" not in manifest
        assert str(tiny) not in (tiny / f"files/manifests/{kind}/{run}.jsonl").read_text()
    # Every file is in one, but for those that change, and those that say nothing.
    listed = {
        key
        for file in (tiny / "files/manifests").rglob("*.jsonl")
        for key in read_manifest(file, "…")
    }
    left = {f.as_posix() for f in files} - listed
    assert {key for key in left if not key.startswith("files/manifests/")} == {
        "zarr.json",
        "files/log.jsonl",
        "fields/zarr.json",
        f"fields/{RUN}/zarr.json",
        f"fields/{RUN}/genes/zarr.json",
        "labels/zarr.json",
        f"labels/{DOMAINS}/zarr.json",
        "imputed/zarr.json",
        f"imputed/{IMPUTED}/zarr.json",
        f"imputed/{IMPUTED}/genes/zarr.json",
        "tables/zarr.json",
    }


def test_a_damaged_or_missing_manifest_is_said(path: Path) -> None:
    file = path / f"files/manifests/fields/{RUN}.jsonl"
    content = file.read_bytes()
    _flip(file, 40)
    with pytest.raises(InputError, match=r"jsonl: the list of files cannot be read"):
        ResultFolder.open(path).field(RUN)
    file.write_bytes(content.replace(content.splitlines(keepends=True)[3], b""))
    with pytest.raises(InputError, match=r"jsonl: the list of files cannot be read"):
        ResultFolder.open(path).field(RUN)
    file.unlink()
    with pytest.raises(InputError, match=r"jsonl: the list of files cannot be read"):
        ResultFolder.open(path).field(RUN)


def test_genes_that_are_pinned_later_are_in_it(path: Path, cache: Cache) -> None:
    with ResultFolder.adding(path, "write") as result:
        assert not is_written(FieldRun(result, RUN), "A")
        write_gene(FieldRun(result, RUN), "A", Job())
        assert is_written(FieldRun(result, RUN), "A")
        write_gene(imputed_run(result), "B", Job())
    result = ResultFolder.open(path)
    assert written_genes(FieldRun(result, RUN)) == ("A", "C/c")
    for kind, run, gene in (("fields", RUN, "A"), ("imputed", IMPUTED, "B")):
        verify_run(path, kind, run, Job(), proven=True)  # type: ignore[arg-type]
        file = path / kind / run / "genes" / gene / "s0/c/0/0"
        file.unlink()
        with pytest.raises(InputError, match=f"genes/{gene}/s0/c/0/0: this file is missing"):
            verify_run(path, kind, run, Job(), proven=True)  # type: ignore[arg-type]


def test_a_run_that_was_interrupted_has_none_yet_and_opens(path: Path, cache: Cache) -> None:
    with ResultFolder.adding(path, "write") as result:
        run = result.start_run("m", {"learned_from": []}, {"seed": 0, "doubts": []}, GRID)
        result.create_field(run, make_decoder(), GRID)
    result = ResultFolder.open(path)
    assert np.isnan(result.field(run).image("A")).all()
    assert not (path / f"files/manifests/fields/{run}.jsonl").exists()
    with ResultFolder.adding(path, "write") as result:
        fill_field(result.field(run))
        result.complete_run(run, Job())
    ResultFolder.open(path).field(run)
    verify_run(path, "fields", run, Job(), proven=True)


def test_info_verifies_a_result(path: Path) -> None:
    said = CliRunner().invoke(app, ["info", str(path), "--verify"])
    assert said.exit_code == 0
    for run in (RUN, DOMAINS, IMPUTED):
        assert f"Verified {run}: " in said.output
    assert "files are what was written." in said.output
    _flip(path / LATENT)
    info(InfoOptions(path=path))
    with pytest.raises(InputError, match=f"{LATENT}: this is damaged"):
        info(InfoOptions(path=path, verify=True))
    with pytest.raises(InputError, match="only results") as raised:
        info(InfoOptions(path=path.parent, verify=True))
    assert raised.value.option == "verify"


# Attributes and models


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("zarr.json", '"mpp": 1.0', '"mpp": 2.0'),
        (f"fields/{RUN}/zarr.json", '"pitch_um": 16.0', '"pitch_um": 17.0'),
        (f"labels/{DOMAINS}/zarr.json", '"Domain 1"', '"Domain 7"'),
        (f"imputed/{IMPUTED}/zarr.json", '"spots": 40', '"spots": 39'),
    ],
)
def test_attributes_that_were_changed_are_refused(
    path: Path, file: str, before: str, after: str
) -> None:
    text = (path / file).read_text()
    assert before in text
    (path / file).write_text(text.replace(before, after, 1))
    with pytest.raises(InputError, match=r"zarr.json: this is damaged \(its attributes"):
        info(InfoOptions(path=path))


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_a_damaged_model_is_refused(path: Path, name: str) -> None:
    folder = ResultFolder.open(path).model_folder(RUN)
    assert load_fitted(folder, torch.device("cpu")).pitch_um == 16.0
    _flip(folder / name)
    with pytest.raises(InputError, match=f"{name}: the saved model cannot be read"):
        load_fitted(folder, torch.device("cpu"))


# Results of format 1


def test_a_result_of_format_1_opens_and_says_that_nothing_proves_it(old: Path, tiny: Path) -> None:
    result, new = ResultFolder.open(old), ResultFolder.open(tiny)
    assert f"Doubt: {UNPROVEN}" in info(InfoOptions(path=old))
    assert f"Doubt: {UNPROVEN}" not in info(InfoOptions(path=tiny))
    assert "nothing says what was written" in info(InfoOptions(path=old, verify=True))[-1]
    np.testing.assert_array_equal(result.field(RUN).image("A"), new.field(RUN).image("A"))
    np.testing.assert_array_equal(imputed_run(result).values("A"), imputed_run(new).values("A"))
    assert domain_run(result).domains == domain_run(new).domains
    assert load_fitted(result.model_folder(RUN), torch.device("cpu")).pitch_um == 16.0


def test_a_result_of_format_1_is_continued_and_stays_unproven(old: Path, cache: Cache) -> None:
    with ResultFolder.adding(old, "write") as result:
        write_gene(FieldRun(result, RUN), "A", Job())
        run = result.start_run("m", {"learned_from": []}, {"seed": 0, "doubts": []}, GRID)
        fill_field(result.create_field(run, make_decoder(), GRID))
        result.write_tissue(np.ones(GRID.shape, bool), GRID)
        result.complete_run(run, Job())
    result = ResultFolder.open(old)
    assert result.attributes["format_version"] == 1
    assert result.runs == (RUN, run)
    assert written_genes(FieldRun(result, RUN)) == ("A", "C/c")
    assert f"Doubt: {UNPROVEN}" in info(InfoOptions(path=old))
    # What is new has its checksums all the same.
    (old / f"fields/{run}/latent/s0/c/0/0/0").unlink()
    with pytest.raises(InputError, match="this file is missing"):
        result.field(run)


# The cache of tiles, and of entries


def test_entries_of_the_cache_carry_checksums_and_older_ones_are_not_read(
    tmp_path: Path, cache: Cache
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype("u1")
    file = write_image(tmp_path / "slide.png", pixels)
    slide = Slide.open(file, mpp=1.0, cache=cache)
    (entry,) = (cache.root / "pyramids3").iterdir()
    codecs = json.loads((entry / "s0/zarr.json").read_text())["codecs"]
    assert codecs[-1]["name"] == "crc32c"
    older = cache.root / "pyramids" / entry.name
    shutil.copytree(entry, older)
    shutil.rmtree(entry)
    _flip(older / "s0/c/0/0/0")
    slide = Slide.open(file, mpp=1.0, cache=cache)
    np.testing.assert_array_equal(np.asarray(slide.levels[0]), pixels)
    _flip(entry / "s0/c/0/0/0")
    with pytest.raises(InputError, match="s0/c/0/0/0: this is damaged"):
        np.asarray(slide.levels[0])


# Runs


def test_runs_of_every_kind_are_listed_and_what_has_genes_is_looked_at_alike(path: Path) -> None:
    with ResultFolder.adding(path, "write") as result:
        begun = result.start_run("m", {"learned_from": []}, {"seed": 0, "doubts": []}, GRID)
    result = ResultFolder.open(path)
    runs = [(run.kind, run.name, run.complete) for run in every_run(result)]
    assert runs == [
        ("fields", RUN, True),
        ("fields", begun, False),
        ("imputed", IMPUTED, True),
        ("labels", DOMAINS, True),
    ]
    # The newest field, whole: an imputation comes after fields, and only if it is named.
    assert gene_run(result).name == RUN
    with pytest.raises(InputError, match=f"the run '{begun}' is not complete"):
        gene_run(result, begun)
    imputed = ["imputed", "imputed", "measured"]
    # Of the field the gene that is predicted best, of an imputation the one that varies most.
    for name, origins, first in ((RUN, ["predicted"] * 3, "A"), (IMPUTED, imputed, "B")):
        run = gene_run(result, name)
        assert [run.origin(gene) for gene in run.genes] == origins
        assert run.unit == "log1p CP10k"
        assert run.shown_first == first
        assert len(run.held_out_r) == len(run.held_out_r_given_depth) == len(run.genes)
        levels = run.levels("B")
        assert levels.shapes[0] == run.grid.shape == GRID.shape
        part = levels.part(0, slice(60, 70), slice(10, 70))
        np.testing.assert_array_equal(part, levels.part()[60:70, 10:70])
        assert run.levels("B", "spread").shapes == levels.shapes
        with pytest.raises(InputError, match=r"Gene 'b' is not among these 3 .* did you mean B\?"):
            run.levels("b")
    with pytest.raises(InputError, match=rf"no run with genes 'x'; there are: {IMPUTED}, {RUN}"):
        gene_run(result, "x")


# The viewer


def test_a_damaged_tile_is_a_hole_in_the_viewer_and_said_once(
    path: Path, notifications: list[object]
) -> None:
    from napari_stenhance.plugin.levels import shown_levels
    from napari_stenhance.storage.levels import Levels
    from napari_stenhance.storage.pyramid import mean_pool, open_levels

    result = ResultFolder.open(path)
    field, group = result.field(RUN), result.run_group(RUN)
    arrays = open_levels(group["genes/C%2Fc"])  # type: ignore[arg-type]
    images = shown_levels(Levels.from_arrays(arrays, mean_pool))
    browsed = shown_levels(field.levels("A"))
    for file in (LATENT, f"fields/{RUN}/genes/C%2Fc/s0/c/0/0"):
        _flip(path / file)
    for levels in (browsed, images):
        notifications.clear()
        for _ in range(2):
            shown = np.asarray(levels[0])
            assert np.isnan(shown[:64, :64]).all()
            assert np.isfinite(shown[64:90, :70]).all()
        assert len(notifications) == 1
        assert "this is damaged (its checksum" in str(notifications[0])


@pytest.mark.parametrize("damage", ["gone", "attributes"])
def test_opening_a_damaged_result_in_the_viewer_is_a_sentence(path: Path, damage: str) -> None:
    from napari_stenhance.plugin.layers import open_layers

    if damage == "gone":
        (path / LATENT).unlink()
    else:
        _flip(path / f"labels/{DOMAINS}/zarr.json", 200)
    with pytest.raises(InputError):
        open_layers(path)


def test_a_manifest_is_written_whole_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "é\nx").write_bytes(b"123")
    # A file of that suffix is one as any other; what zarr was writing when it was killed is none.
    for name in ("left.partial", f"0.{'0123456789abcdef' * 2}.partial"):
        (tmp_path / "a b" / name).write_bytes(b"1")
    manifest = list_files(tmp_path, ["a b", "nowhere"], [], Job())
    assert list(manifest) == ["a b/left.partial", "a b/é\nx"]
    file = tmp_path / "m" / "x.jsonl"
    write_manifest(file, manifest)
    assert read_manifest(file, "…") == manifest
    assert [f.name for f in file.parent.iterdir()] == ["x.jsonl"]
