"""Space Ranger folders of every version and layout, with known counts; and a real one."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

from made_sections import make_slide_pixels, write_image
from napari_stenhance.cli import app
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layer_info import open_sections
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.results.runs import field_run
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from napari_stenhance.tasks.info import InfoOptions, info

if TYPE_CHECKING:
    from person import Person

from visium_folders import (
    FEATURES,
    HIRES,
    NAMES,
    PITCH,
    SHAPE,
    Known,
    check,
    known,
    picture,
    write_factors,
    write_h5,
    write_mex,
    write_outs,
    write_positions,
    write_text,
)


def _version_1(folder: Path, what: Known) -> Path:
    return write_outs(folder / "S1" / "outs", what, header=False)


def _version_3(folder: Path, what: Known) -> Path:
    write_outs(folder / "S1" / "outs", what)
    return folder / "S1"


def _old_name_with_header(folder: Path, what: Known) -> Path:
    outs = write_outs(folder / "S1", what)
    (outs / "spatial/tissue_positions.csv").rename(outs / "spatial/tissue_positions_list.csv")
    return outs


def _all_in_one_folder(folder: Path, what: Known) -> Path:
    root = folder / "S1"
    root.mkdir()
    write_h5(root / "filtered_feature_bc_matrix.h5", what)
    write_positions(root / "tissue_positions_list.txt", what, header=False)
    write_factors(root / "scalefactors_json.json")
    return root


def _legacy_h5(folder: Path, what: Known) -> Path:
    outs = write_outs(folder / "S1", what, header=False)
    write_h5(outs / "filtered_feature_bc_matrix.h5", what, legacy=True, features=FEATURES[:5])
    return outs


def _mex(folder: Path, what: Known) -> Path:
    outs = write_outs(folder / "S1", what)
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    write_mex(outs / "filtered_feature_bc_matrix", what)
    return outs


def _plain_mex(folder: Path, what: Known) -> Path:
    outs = write_outs(folder / "S1", what)
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    write_mex(outs / "filtered_feature_bc_matrix", what, gz=False)
    return outs


def _geo(folder: Path, what: Known) -> Path:
    root = folder / "GSE1"
    root.mkdir()
    write_h5(root / "GSM1_S1_filtered_feature_bc_matrix.h5", what)
    write_positions(root / "GSM1_S1_tissue_positions_list.csv.gz", what, header=False)
    write_factors(root / "GSM1_S1_scalefactors_json.json.gz")
    (root / "._GSM1_S1_tissue_positions_list.csv").write_bytes(b"\0")
    return root


def _geo_mex(folder: Path, what: Known) -> Path:
    root = folder / "GSE1"
    write_mex(root, what, prefix="GSM1_S1_")
    write_positions(root / "GSM1_S1_tissue_positions.csv.gz", what)
    return root


def _geo_several(folder: Path, what: Known) -> Path:
    root = _geo(folder, what)
    other = known(group=2)
    write_h5(root / "GSM2_S2_filtered_feature_bc_matrix.h5", other)
    write_positions(root / "GSM2_S2_tissue_positions_list.csv.gz", other, header=False)
    return root / "GSM1_S1_filtered_feature_bc_matrix.h5"


def _download(folder: Path, what: Known) -> Path:
    root = write_outs(folder / "lymph", what, header=False)
    old = root / "filtered_feature_bc_matrix.h5"
    old.rename(root / "V1_Lymph_Node_filtered_feature_bc_matrix.h5")
    return root


def _aggregate(folder: Path, what: Known) -> Path:
    outs, other = folder / "outs", known(group=2)
    (outs / "spatial").mkdir(parents=True)
    both = Known(
        barcodes=[],
        in_tissue=what.in_tissue,
        array=what.array,
        xy=what.xy,
        counted=what.counted + other.counted,
        counts=np.vstack([what.counts, other.counts]),
    )
    write_h5(outs / "filtered_feature_bc_matrix.h5", both)
    write_positions(outs / "spatial" / "aggr_tissue_positions.csv", what, other)
    for n in (1, 2):
        write_factors(outs / "spatial" / f"S{n}" / "scalefactors_json.json", gem_id=n)
    return outs / "spatial" / "S1"


LAYOUTS = {
    "Space Ranger 1": (_version_1, "S1"),
    "Space Ranger 3, the folder above": (_version_3, "S1"),
    "old name, new header": (_old_name_with_header, "S1"),
    "all in one folder, .txt": (_all_in_one_folder, "S1"),
    "legacy h5": (_legacy_h5, "S1"),
    "mex": (_mex, "S1"),
    "plain mex, genes.tsv": (_plain_mex, "S1"),
    "GEO": (_geo, "GSM1_S1"),
    "GEO mex": (_geo_mex, "GSM1_S1"),
    "GEO, one of several": (_geo_several, "GSM1_S1"),
    "10x download": (_download, "V1_Lymph_Node"),
    "one sample of an aggregate": (_aggregate, "S1"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_opens_exactly(layout: str, tmp_path: Path) -> None:
    write, name = LAYOUTS[layout]
    what = known()
    path = write(tmp_path, what)
    section = open_section(path)
    check(section, what)
    assert section.name == name
    assert section.slide is None
    assert any("No full-resolution slide was found" in doubt for doubt in section.doubts)
    assert not any("no position" in doubt or "not among" in doubt for doubt in section.doubts)
    if path.is_dir():
        assert get_reader(str(path)) is not None


def test_what_is_left_out_or_renamed_is_said(tmp_path: Path) -> None:
    section = open_section(write_outs(tmp_path / "S1", known()))
    doubts, spots = section.doubts, section.need_spots()
    assert any("1 feature that is no gene (Antibody Capture) is not" in d for d in doubts)
    assert list(spots.uns["not_genes"].index) == ["CD3 (Antibody Capture)"]
    assert spots.obsm["not_genes"].shape == (spots.n_obs, 1)
    assert any("2 genes share their symbol" in d and "as TBCE-ENSG02." in d for d in doubts)
    assert any("(tissue_hires_image.png)" in d for d in doubts)


@pytest.mark.parametrize(
    ("turn", "mirror", "shift"),
    [(0, True, (900, 60)), (3, False, (60, 50)), (185, True, (-30, -9))],
)
def test_a_turned_or_mirrored_lattice_keeps_its_pixels(
    turn: float, mirror: bool, shift: tuple[float, float], tmp_path: Path
) -> None:
    what = known(turn=turn, mirror=mirror, shift=shift)
    check(open_section(write_outs(tmp_path / "S1", what)), what)


def test_the_stated_scale_comes_first(tmp_path: Path) -> None:
    section = open_section(write_outs(tmp_path / "S1", known(), microns_per_pixel=2.49))
    assert section.mpp == 2.49
    assert not any("inferred" in doubt for doubt in section.doubts)
    assert open_section(write_outs(tmp_path / "S1", known()), mpp=2.0).mpp == 2.0


def test_of_a_raw_matrix_alone_the_spots_under_tissue_are_kept(tmp_path: Path) -> None:
    what = known()
    outs = write_outs(tmp_path / "S1", what)
    outside = [b for b in sorted(what.barcodes) if b not in what.counted][:9]
    raw = Known(
        what.barcodes,
        what.in_tissue,
        what.array,
        what.xy,
        # Raw matrices leave out barcodes without any count.
        what.counted[1:] + outside,
        np.vstack([what.counts[1:], np.full((9, len(FEATURES)), 7)]),
    )
    write_h5(outs / "raw_feature_bc_matrix.h5", raw)
    check(open_section(outs), what)
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    section = open_section(outs)
    what.counted = what.counted[1:] + what.counted[:1]
    what.counts = np.vstack([what.counts[1:], np.zeros((1, len(FEATURES)), np.int64)])
    check(section, what)
    assert any("no filtered matrix" in d and "68 spots under tissue" in d for d in section.doubts)
    assert "1 spot under tissue is not in the raw matrix: it counts 0." in section.doubts


def test_a_matrix_that_does_not_say_what_it_holds_is_cut_to_the_tissue(tmp_path: Path) -> None:
    what = known()
    root = _geo_mex(tmp_path, what)
    outside = next(b for b in what.barcodes if b not in what.counted)
    more = known()
    more.counted = [*what.counted, outside]
    more.counts = np.vstack([what.counts, what.counts[:1]])
    write_mex(root, more, prefix="GSM1_S1_")
    section = open_section(root)
    check(section, what)
    assert any("no filtered matrix" in doubt for doubt in section.doubts)


def test_counts_and_positions_that_lack_each_other_are_left_out(tmp_path: Path) -> None:
    what = known()
    outs = write_outs(tmp_path / "S1", what)
    lines = (outs / "spatial" / "tissue_positions.csv").read_text().splitlines()
    lost = what.counted[5]
    lines = [line for line in lines if not line.startswith(lost)]
    nowhere = next(n for n, line in enumerate(lines) if line.startswith(what.counted[7]))
    lines[nowhere] = lines[nowhere].rsplit(",", 1)[0] + ","
    write_text(outs / "spatial" / "tissue_positions.csv", "\n".join(lines))
    kept = [n for n in range(len(what.counted)) if n not in (5, 7)]
    fewer = [n for n in kept if n != 9]
    what.counted, what.counts = [what.counted[n] for n in fewer], what.counts[fewer]
    write_h5(outs / "filtered_feature_bc_matrix.h5", what)
    section = open_section(outs)
    check(section, what)
    assert "1 spot under tissue is not among the counts and was left out." in section.doubts
    assert "tissue_positions.csv: 1 spot without coordinates was left out." in section.doubts
    write_h5(outs / "filtered_feature_bc_matrix.h5", known())
    assert "2 of 68 barcodes have no position and were left out." in open_section(outs).doubts


# The slide


def test_the_one_image_that_fits_is_the_slide(tmp_path: Path, cache: Cache) -> None:
    what = known()
    outs = write_outs(tmp_path / "S1" / "outs", what)
    slide = picture(tmp_path / "S1" / "he.png")
    picture(outs / "detected_tissue_image.jpg")
    picture(outs / "thumbnail.png", 0.3)
    section = open_section(outs, cache=cache)
    check(section, what)
    assert section.need_slide().path == slide
    assert section.need_slide().mpp_source.startswith("inferred")
    assert open_section(outs, spots=False, cache=cache).spots is None
    beside = slide.rename(tmp_path / "S1_he.png")
    picture(tmp_path / "S2_he.png")
    assert open_section(tmp_path / "S1", cache=cache).need_slide().path == beside
    picture(tmp_path / "S1.png")
    with pytest.raises(InputError, match=r"several files could be the image: S1\.png, S1_he\.png"):
        open_section(outs, cache=cache)
    assert open_section(outs, image=beside, cache=cache).need_slide().path == beside


def test_images_of_another_sample_are_not_taken(tmp_path: Path, cache: Cache) -> None:
    path = _geo_several(tmp_path, known())
    own, _ = (picture(path.with_name(f"GSM{n}_S{n}_image.png")) for n in (1, 2))
    assert open_section(path, cache=cache).need_slide().path == own


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((130, 150), "99% of the spots lie outside it"),
        ((700, 800), "does not agree with tissue_hires_image.png"),
        (SHAPE[::-1], "turned by 90°"),
    ],
)
def test_an_image_that_does_not_fit_is_left_out(
    shape: tuple[int, int], why: str, tmp_path: Path, cache: Cache
) -> None:
    outs = write_outs(tmp_path / "S1", known())
    picture(outs / "he.png", shape=shape)
    section = open_section(outs, cache=cache)
    assert section.slide is None
    assert any("he.png was left out" in d and why in d for d in section.doubts)
    with pytest.raises(InputError, match="or name it"):
        section.need_slide()


def test_a_slide_from_elsewhere_can_be_given(tmp_path: Path, cache: Cache) -> None:
    what = known()
    outs = write_outs(tmp_path / "S1", what)
    slide = picture(tmp_path / "elsewhere" / "he.png")
    section = open_section(outs, image=slide, cache=cache)
    check(section, what)
    assert section.need_slide().path == slide
    assert not any("slide" in doubt for doubt in section.doubts)
    wider = picture(tmp_path / "wider.png", shape=(700, 800))
    doubts = open_section(outs, image=wider, cache=cache).doubts
    assert any("wider.png may not be the slide: its size, 800 × 700 px" in d for d in doubts)


def test_the_hires_picture_serves_only_where_it_is_named(tmp_path: Path, cache: Cache) -> None:
    what = known()
    outs = write_outs(tmp_path / "S1", what)
    hires = outs / "spatial" / "tissue_hires_image.png"
    section = open_section(outs, image=hires, cache=cache)
    assert section.mpp == pytest.approx(100 / PITCH / HIRES, rel=1e-9)
    np.testing.assert_array_equal(
        section.need_spots().obsm["spatial"], (what.xy[what.rows()] + 0.5) * HIRES - 0.5
    )
    assert section.geometry().spot_diameter_um == 55
    assert any("tissue_hires_image.png serves as the slide, though it is coarse" in d
               for d in section.doubts)  # fmt: skip
    copy = tmp_path / "he.png"
    copy.write_bytes(hires.read_bytes())
    with pytest.raises(
        InputError, match=r"he\.png: \d+% of the spots lie outside .* give the full"
    ):
        open_section(outs, image=copy, cache=cache)


@pytest.mark.parametrize(
    ("image", "match"),
    [
        ("none.png", "there is no such image"),
        ("text.png", "cannot be read"),
        ("turned.png", "turned by 90°"),
    ],
)
def test_a_given_image_that_is_none_is_refused(
    image: str, match: str, tmp_path: Path, cache: Cache
) -> None:
    outs = write_outs(tmp_path / "S1", known())
    (tmp_path / "text.png").write_text("text")
    turned = picture(tmp_path / "turned.png", shape=SHAPE[::-1])
    with pytest.raises(InputError, match=match) as error:
        open_section(outs, image=tmp_path / image, cache=cache)
    assert image in str(error.value)
    with pytest.raises(InputError, match="this is an image itself"):
        open_section(turned, image=turned)


def test_commands_take_the_slide(tmp_path: Path) -> None:
    outs = write_outs(tmp_path / "S1", known())
    slide = picture(tmp_path / "elsewhere" / "he.png")
    lines = info(InfoOptions(outs, image=slide))
    assert lines[1].startswith("Slide: he.png, 600 × 520 px, 2 levels, 2.5 µm per pixel (inferred")
    assert lines[2] == "Spots: 68 × 5 genes; discs of 55 µm at a pitch of 100 µm"
    done = CliRunner().invoke(app, ["info", str(outs), "--image", str(slide)])
    assert done.exit_code == 0
    assert "Slide: he.png" in done.stdout
    with pytest.raises(InputError, match="One image is the slide of one section"):
        enhance(EnhanceOptions((outs, outs), tmp_path / "out", image=slide))
    section = open_section(outs, image=slide)
    with pytest.raises(InputError, match="open already"):
        enhance(EnhanceOptions(section, tmp_path / "out", image=slide))
    with pytest.raises(InputError, match="has no slide"):
        enhance(EnhanceOptions(outs, tmp_path / "out"))
    done = CliRunner().invoke(app, ["view", str(outs), str(outs), "--image", str(slide)])
    assert done.exit_code == 2


@pytest.mark.slow
def test_enhance_learns_on_a_slide_that_is_given(tmp_path: Path) -> None:
    outs = write_outs(tmp_path / "S1", known())
    (outs / "spatial" / "tissue_hires_image.png").unlink()
    pixels, _ = make_slide_pixels(SHAPE, 0)
    slide = write_image(tmp_path / "he.png", pixels)
    out = tmp_path / "S1.stenhance.zarr"
    options = EnhanceOptions(outs, out, image=slide, epochs=1, write="KRT8", device="cpu")
    (result,) = enhance(options)
    assert result.attributes["slide"]["name"] == "S1"
    assert result.attributes["slide"]["mpp"] == pytest.approx(2.5, rel=1e-9)
    field = field_run(result).field
    assert set(field.genes) == set(NAMES)
    assert np.isfinite(field.image("TBCE-ENSG02")).any()


def test_the_viewer_keeps_the_slide_that_was_given(person: Person, tmp_path: Path) -> None:
    outs = write_outs(tmp_path / "S1", known())
    slide = picture(tmp_path / "elsewhere" / "he.png")
    person.section.open(outs, image=slide)
    person.wait(lambda: not person.section.run_bar.busy)
    assert person.layer("slide").data[0].shape == (*SHAPE, 3)
    person.section.mpp.setValue(2.0)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    (section,) = open_sections(person.viewer)
    assert (section.mpp, section.need_slide().path) == (2.0, slide)


# What is wrong


def test_several_samples_are_named(tmp_path: Path) -> None:
    path = _geo_several(tmp_path, known())
    with pytest.raises(InputError, match=r"several samples: GSM1_S1, GSM2_S2; name"):
        open_section(path.parent)
    assert open_section(path.parent, sample="GSM2_S2").name == "GSM2_S2"
    with pytest.raises(InputError, match=r"no sample 'S2' .* there are GSM1_S1, GSM2_S2: name"):
        open_section(path.parent, sample="S2")
    # Barcodes are the same on every slide: the positions of another sample would fit.
    for n in (1, 2):
        path.with_name(f"GSM{n}_S{n}_tissue_positions_list.csv.gz").unlink()
    write_positions(path.with_name("spatial") / "tissue_positions.csv", known())
    with pytest.raises(InputError, match=r"put GSM1_S1_tissue_positions\.csv"):
        open_section(path)


def test_an_aggregate_names_its_samples(tmp_path: Path) -> None:
    outs = _aggregate(tmp_path, known()).parents[1]
    with pytest.raises(InputError, match=r"2 samples are aggregated here, .*S1, .*S2\."):
        open_section(outs)
    check(open_section(outs / "spatial" / "S2"), known(group=2))
    write_factors(outs / "spatial" / "S2" / "scalefactors_json.json", gem_id=3)
    with pytest.raises(InputError, match="gem_id is 3"):
        open_section(outs / "spatial" / "S2")


def test_real_placenta(data: Path) -> None:
    folder = data / "visium_placenta"
    section = open_section(folder)
    spots = section.need_spots()
    with h5py.File(folder / "filtered_feature_bc_matrix.h5") as file:
        matrix = file["matrix"]
        counts = sp.csc_matrix(
            (matrix["data"][:], matrix["indices"][:], matrix["indptr"][:]), tuple(matrix["shape"])
        ).T.tocsr()
        barcodes = [b.decode() for b in matrix["barcodes"]]
        ids = [i.decode() for i in matrix["features/id"]]
        names = [n.decode() for n in matrix["features/name"]]
    with (folder / "spatial" / "tissue_positions.csv").open(newline="") as file:
        rows = {row["barcode"]: row for row in csv.DictReader(file)}
    assert spots.shape == (2898, 19465)
    assert list(spots.obs_names) == barcodes
    assert abs(spots.X - counts).max() == 0
    assert spots.X.sum() == counts.sum()
    assert list(spots.var["gene_id"]) == ids
    times = Counter(names)
    assert list(spots.var_names) == [
        name if times[name] == 1 else f"{name}-{own}" for name, own in zip(names, ids, strict=True)
    ]
    for column, key in enumerate(("pxl_col_in_fullres", "pxl_row_in_fullres")):
        values = [float(rows[b][key]) for b in barcodes]
        np.testing.assert_array_equal(spots.obsm["spatial"][:, column], values)
    for key in ("in_tissue", "array_row", "array_col"):
        assert list(spots.obs[key]) == [int(rows[b][key]) for b in barcodes]
    assert section.mpp == pytest.approx(4.68, abs=0.005)
    assert section.geometry().spot_diameter_um == 55
    lines = info(InfoOptions(folder))
    assert lines[:3] == (
        "Section visium_placenta",
        "Slide: none",
        "Spots: 2898 × 19465 genes; discs of 55 µm at a pitch of 100 µm",
    )
    assert any("(detected_tissue_image.jpg, tissue_lowres_image.png)" in line for line in lines)
    assert any("inferred from the Visium lattice: 21.4 px" in line for line in lines)


def test_real_placenta_on_a_picture_that_is_given(data: Path, cache: Cache) -> None:
    folder = data / "visium_placenta"
    # Without a microscope's image, positions are in pixels of the CytAssist's.
    section = open_section(
        folder, image=folder / "spatial" / "detected_tissue_image.jpg", cache=cache
    )
    assert section.need_slide().shape == (3000, 3000)
    assert section.mpp == pytest.approx(4.68, abs=0.005)
    with pytest.raises(InputError, match=r"lowres_image\.png: a scale of 23\.38"):
        open_section(folder, image=folder / "spatial" / "tissue_lowres_image.png", cache=cache)
