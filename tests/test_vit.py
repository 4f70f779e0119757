from __future__ import annotations

import argparse
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from napari_stenhance.errors import InferenceError, InputError
from napari_stenhance.features.cropping import Crops
from napari_stenhance.features.encoder import CropEncoder
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.vit import TimmEncoder
from napari_stenhance.features.weights import load_weights
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.hashing import file_hash

MakeSlide = Callable[..., Slide]
CPU = torch.device("cpu")
VIT = "timm:test_vit.r160_in1k"
RANDOM_VIT, RANDOM_CNN = f"{VIT}?pretrained=false", "timm:test_resnet.r160_in1k?pretrained=false"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        pytest.fail("something asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, whatever the user has."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def put_in_hub(hub: Path, repo: str, file: str, source: Path) -> Path:
    about = hub / f"models--{repo.replace('/', '--')}"
    commit = "0" * 40
    (about / "refs").mkdir(parents=True)
    (about / "refs" / "main").write_text(commit)
    (about / "snapshots" / commit).mkdir(parents=True)
    source.rename(about / "snapshots" / commit / file)
    return about / "snapshots" / commit / file


def state(arch: str = "test_vit", seed: int = 5, **options: Any) -> dict[str, torch.Tensor]:
    """Weights as they are published: with a classifier."""
    torch.manual_seed(seed)
    model = timm.create_model(arch, pretrained=False, **options)
    # Scales as those of a network that was trained.
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("gamma"):
                value.normal_()
    return {k: v.clone() for k, v in model.state_dict().items()}


def noise(n: int, side: int = 160, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            "resnet18",
            "no such encoder; did you mean resnet50. Choose one of h-optimus-0, .*, stain, timm:M",
        ),
        ("Uni", "did you mean uni or uni2-h"),
        ("timm:a?weights=~nobody-of-that-name/x", "the weights cannot be read"),
        ("timm:", "no such encoder"),
        ("timm:hf-hub:someone/model", "no such encoder"),
        ("timm:../secret", "no such encoder"),
        ("stain?channels=bgr", "stain has no options"),
        ("uni?colour=bgr", "colour=bgr is no option; there are weights=FILE"),
        ("uni?channels=grey", "channels=grey is no option"),
        ("uni?pretrained=yes", "pretrained=yes is no option"),
        ("uni?weights=", "weights= is no option"),
        ("uni?weights", "weights= is no option"),
        ("uni?channels=bgr&channels=rgb", "channels is given twice"),
        ("uni?weights=a.bin&pretrained=false", "either weights=FILE or random ones"),
    ],
)
def test_what_is_no_encoder_is_said(spec: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        find_encoder(spec)


@pytest.mark.parametrize("model", ["resnet1800", "resnet18.no_such_tag"])
def test_an_unknown_model_of_timm_is_said(model: str) -> None:
    with pytest.raises(InputError, match=rf"{model}: timm has no such model .near are resnet"):
        crop_encoder(f"timm:{model}?pretrained=false")


def crop_encoder(spec: str) -> CropEncoder:
    make = find_encoder(spec).crops
    assert make is not None
    return make(CPU)


def encoded(encoder: CropEncoder, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    return encoder.encode(Crops.from_array(crops))


def identity(spec: str) -> str:
    return find_encoder(spec).identity()


def test_names_for_runs_and_models(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "w.safetensors")
    given = f"{VIT}?weights={tmp_path / 'w.safetensors'}&channels=bgr"
    assert find_encoder(given).name == f"{VIT}?channels=bgr"
    assert find_encoder(RANDOM_CNN).name == RANDOM_CNN
    titles = [find_encoder(s).title for s in ("stain", "uni", given)]
    assert titles == ["stain", "uni", "timm-test_vit"]
    assert identity("stain") == "stain3"
    content = file_hash(tmp_path / "w.safetensors")[:16]
    assert identity(given) == f"{VIT}-v2-{content}-bgr"
    assert identity("timm:test_vit?pretrained=false") == f"{VIT}-v2-random0"
    # Other weights under the same name.
    save_file(state(seed=6), tmp_path / "w.safetensors")
    assert identity(given) == f"{VIT}-v2-{file_hash(tmp_path / 'w.safetensors')[:16]}-bgr"
    assert content not in identity(given)


# --- networks and their weights ------------------------------------------------------------------


def test_a_network_is_built_the_same_at_any_time() -> None:
    network = EncoderNetwork("a", "test_vit", 160, (0.5,) * 3, (0.5,) * 3, "none")
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(network.build().state_dict())
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    larger = network.build(224).state_dict()
    assert larger["pos_embed"].shape == (1, 1 + 14**2, 64)
    assert states[0]["pos_embed"].shape == (1, 1 + 10**2, 64)


def test_weights_that_are_not_here_are_asked_for() -> None:
    for make in (identity, crop_encoder):
        with pytest.raises(InputError) as uni:
            make("uni")
        for part in (
            "`napari-stenhance weights uni` says what they ask for and fetches them",
            "uni?weights=FILE",
            "uni?pretrained=false",
        ):
            assert part in str(uni.value)
        with pytest.raises(
            InputError, match=r"napari-stenhance weights timm:test_vit.r160_in1k. says"
        ):
            make("timm:test_vit")
        with pytest.raises(InputError, match=r"fetch vit256_.* from https://github.*HIPT and give"):
            make("hipt-256")
        with pytest.raises(InputError, match=r"cannot be read \(No such file"):
            make("uni?weights=/no/such/file.bin")
        with pytest.raises(InputError, match="this file of weights cannot be read"):
            make(f"uni?weights={Path(__file__).parent}")


def expected(arch: str, weights: dict[str, torch.Tensor], crops: NDArray[np.uint8]) -> Any:
    """What timm itself makes of crops."""
    model = timm.create_model(arch, pretrained=False).eval()
    model.load_state_dict(weights)
    about: Any = model.pretrained_cfg
    mean, std = (torch.tensor(about[k]).view(3, 1, 1) for k in ("mean", "std"))
    pictures = (torch.from_numpy(crops).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        return model, model.forward_features(pictures)


def test_a_file_of_the_name_of_a_published_one_must_be_that_one(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "vit256_small_dino.pth")
    with pytest.raises(InputError, match=r"not the file .* SHA-256 .* instead of 6960cd5a8657dc8b"):
        identity(f"hipt-256?weights={tmp_path / 'vit256_small_dino.pth'}")
    (tmp_path / "vit256_small_dino.pth").rename(tmp_path / "mine.pth")
    own = identity(f"hipt-256?weights={tmp_path / 'mine.pth'}")
    assert own.endswith(file_hash(tmp_path / "mine.pth")[:16])


WRAPPED = ("plain", "heads", "teacher", "nested")


def wrapped(weights: dict[str, torch.Tensor], kind: str) -> Any:
    if kind == "plain":
        return weights
    if kind == "heads":
        return {f"module.backbone.{k}": v for k, v in weights.items()} | {
            "module.dino_head.w": torch.zeros(2),
            "module.mask_token": torch.zeros(2),
        }
    if kind == "teacher":
        teacher = {f"backbone.{k}": v for k, v in weights.items()}
        return {"args": argparse.Namespace(lr=0.1), "epoch": 3, "student": {}, "teacher": teacher}
    return {"state_dict": {"model": {f"_orig_mod.visual.trunk.{k}": v for k, v in weights.items()}}}


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("safetensors", "plain"),  # which cannot be nested
        ("safetensors", "heads"),
        *((file, kind) for file in ("zip", "pickle") for kind in WRAPPED),
    ],
)
def test_weights_are_read_from_a_file(tmp_path: Path, file: str, kind: str) -> None:
    weights, path = state(), tmp_path / f"weights.{file}"
    content = wrapped(weights, kind)
    if file == "safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=file == "zip")
    encoder = crop_encoder(f"{VIT}?weights={path}&precision=float32")
    crops = noise(3)
    _, tokens = expected("test_vit", weights, crops)
    np.testing.assert_allclose(encoded(encoder, crops), tokens[:, 0], atol=1e-5)


@pytest.mark.parametrize("layout", ["safetensors", "bin"])
def test_weights_are_found_in_the_hub_cache(tmp_path: Path, hub: Path, layout: str) -> None:
    weights, path = state(), tmp_path / "weights"
    if layout == "bin":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    name = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}[layout]
    found = put_in_hub(hub, "timm/test_vit.r160_in1k", name, path)
    encoder = crop_encoder("timm:test_vit?precision=float32")
    _, tokens = expected("test_vit", weights, noise(2))
    np.testing.assert_allclose(encoded(encoder, noise(2)), tokens[:, 0], atol=1e-5)
    assert identity("timm:test_vit") == f"{VIT}-v2-{file_hash(found)[:16]}"


@pytest.mark.parametrize("repo", ["MahmoodLab/UNI", "MahmoodLab/uni"])
def test_uni_is_found_under_either_spelling(tmp_path: Path, hub: Path, repo: str) -> None:
    path = tmp_path / "weights"
    torch.save(state(), path)
    found = put_in_hub(hub, repo, "pytorch_model.bin", path)
    assert identity("uni") == f"uni-v2-{file_hash(found)[:16]}"


def damaged(path: Path, kind: str) -> str:
    weights = state()
    match kind:
        case "missing":
            del weights["norm.weight"], weights["blocks.0.norm1.bias"]
            save_file(weights, path)
            return r"2 missing \(blocks.0.norm1.bias, norm.weight\)"
        case "unexpected":
            torch.save(weights | {f"extra.{n}": torch.zeros(1) for n in range(7)}, path)
            return r"7 unexpected \(extra.0, extra.1, extra.2, extra.3, extra.4, …\)"
        case "shape":
            torch.save(weights | {"norm.weight": torch.zeros(3)}, path)
            return r"1 of another shape \(norm.weight \(3,\) instead of \(64,\)\)"
        case "other network":
            save_file(state("test_resnet"), path)
            return "weights are of another network: .* missing .* unexpected"
        case "quantised":
            weights["norm.weight"] = weights["norm.weight"].to(torch.int8)
            save_file(weights, path)
            return r"whole numbers where this network has fractions \(norm.weight\)"
        case "nan":
            weights["norm.bias"][3] = float("nan")
            save_file(weights, path)
            return r"not finite numbers \(norm.bias\)"
        case "empty":
            torch.save({"epoch": 3}, path)
            return "missing"
        case "list":
            torch.save([1, 2], path)
            return "missing"
        case "pointer":
            path.write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:abc123\nsize 1213531890\n"
            )
            return "Git LFS leaves in place of the weights .*abc123.*1213531890.*git lfs pull"
        case "page":
            path.write_text("\n<!DOCTYPE html><html>Access to model is restricted</html>")
            return "a web page or a message that was saved instead"
        case "message":
            path.write_text('{"error":"Access to model is restricted"}')
            return "a web page or a message"
        case "text":
            path.write_text("weights of the network")
            return "neither a safetensors file nor one that torch.save wrote"
        case "nothing":
            path.touch()
            return "this file is empty; fetch it again"
        case "cut safetensors":
            save_file(weights, path)
            path.write_bytes(path.read_bytes()[:-1000])
            return "the weights are damaged"
        case "half a zip" | "half a safetensors":
            (save_file if "safetensors" in kind else torch.save)(weights, path)  # type: ignore[operator]
            path.write_bytes(path.read_bytes()[:400_000])
            return r"damaged.* \(400,000 bytes of at least 599,552\); fetch"
        case "cut zip":
            torch.save(weights, path)
            path.write_bytes(path.read_bytes()[:-1000])
            return r"damaged or cut off \(it ends after [\d,]+ bytes, and its archive does not\); f"
        case "cut pickle":
            torch.save(weights, path, _use_new_zipfile_serialization=False)
            path.write_bytes(path.read_bytes()[:-1000])
            return r"cut off \(it ends after [\d,]+ bytes, in the middle of a tensor\); fetch it"
        case "spoilt zip":
            torch.save(weights, path)
            content = path.read_bytes()
            at = content.index(b"data.pkl") + 40
            path.write_bytes(content[:at] + bytes(20) + content[at + 20 :])
            return "damaged or cut off .*the checksum of .*data.pkl in it is wrong"
        case "code in a zip":
            torch.save({"state_dict": weights, "danger": Danger(path)}, path)
            return "not safe to load, as it wants to run .*eval.*convert it to safetensors"
        case "code" | "code in a newer pickle":
            path.write_bytes(pickle.dumps(Danger(path), protocol=2 if kind == "code" else 4))
            return "holds more than tensors .*convert it to safetensors"
    raise AssertionError(kind)


class Danger:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.path) + '.ran'!r}, 'w').close()",)


@pytest.mark.parametrize(
    "kind",
    [
        *("missing", "unexpected", "shape", "other network", "quantised", "nan", "empty", "list"),
        *("pointer", "page", "message", "text", "nothing"),
        *(
            "half a zip",
            "half a safetensors",
            "cut safetensors",
            "cut zip",
            "cut pickle",
            "spoilt zip",
            "code in a zip",
            "code",
            "code in a newer pickle",
        ),
    ],
)
def test_files_that_are_no_such_weights_are_refused(
    tmp_path: Path, kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "weights.file"
    sentence = damaged(path, kind)
    with pytest.raises(InputError, match=sentence) as error:
        crop_encoder(f"{VIT}?weights={path}")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "weights.file.ran").exists()
    assert [str(warning.message) for warning in recwarn] == []


def test_weights_that_were_never_trained_are_refused(tmp_path: Path) -> None:
    trained = state(init_values=1e-5)
    same_scales = {k: torch.ones_like(v) if "gamma" in k else v for k, v in trained.items()}
    same_places = trained | {"pos_embed": torch.zeros_like(trained["pos_embed"])}
    model = timm.create_model("test_vit", pretrained=False, num_classes=0, init_values=1e-5)
    for n, weights in enumerate((same_scales, same_places)):
        save_file(weights, tmp_path / f"{n}")
        with pytest.raises(InputError, match="never trained"):
            load_weights(model, tmp_path / f"{n}", trained=True)
    save_file(trained, tmp_path / "good")
    load_weights(model, tmp_path / "good", trained=True)
    torch.testing.assert_close(model.state_dict()["norm.bias"], trained["norm.bias"])


# --- vectors -------------------------------------------------------------------------------------


ARCHS = ("test_vit", "test_vit2", "test_vit3", "eva02_tiny_patch14_224", "test_resnet")


@pytest.mark.parametrize("arch", ARCHS)
def test_vectors_are_those_of_timm(tmp_path: Path, arch: str) -> None:
    weights = state(arch)
    save_file(weights, tmp_path / "w")
    encoder = crop_encoder(f"timm:{arch}?weights={tmp_path / 'w'}&precision=float32")
    crops = noise(3, encoder.side_px)
    model, features = expected(arch, weights, crops)
    with torch.inference_mode():
        vectors = {
            "test_vit": lambda: features[:, 0],  # class token
            "test_vit2": lambda: model.fc_norm(features[:, 1:].mean(dim=1)),  # 1 register
            "test_vit3": lambda: features[:, 1:].mean(dim=1),
            # Has a class token, but was trained to be pooled.
            "eva02_tiny_patch14_224": lambda: model.forward_head(features, pre_logits=True),
            "test_resnet": lambda: features.mean(dim=(2, 3)),
        }[arch]()
    assert encoder.dim == vectors.shape[1]
    assert float(vectors.std(dim=0).mean()) > 1e-4  # crops differ, so that this test can fail
    np.testing.assert_allclose(encoded(encoder, crops), vectors, atol=1e-5)


@pytest.mark.parametrize("spec", [RANDOM_VIT, RANDOM_CNN])
def test_a_vector_depends_on_its_crop_only(spec: str) -> None:
    encoder, crops = crop_encoder(spec), noise(11)
    together = encoded(encoder, crops)
    assert together.shape == (11, encoder.dim)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(encoded(encoder, crops[::-1]), together[::-1])
    np.testing.assert_array_equal(encoded(encoder, crops[4:5]), together[4:5])
    np.testing.assert_array_equal(encoded(crop_encoder(spec), crops), together)
    assert encoded(encoder, crops[:0]).shape == (0, encoder.dim)
    assert len(np.unique(together, axis=0)) == 11


def test_half_precision_is_near_and_has_an_entry_of_its_own() -> None:
    crops = noise(5)
    one, half = (crop_encoder(f"{RANDOM_VIT}&precision={p}") for p in ("float32", "bfloat16"))
    assert one.fingerprint() != half.fingerprint()
    exact, near = encoded(one, crops), encoded(half, crops)
    assert 1e-5 < np.linalg.norm(near - exact) / np.linalg.norm(exact) < 0.03


def test_swapped_colours_are_those_of_swapped_pixels() -> None:
    crops = noise(2)
    rgb, bgr = (crop_encoder(f"{RANDOM_VIT}&channels={c}") for c in ("rgb", "bgr"))
    np.testing.assert_array_equal(encoded(bgr, crops), encoded(rgb, crops[..., ::-1]))
    assert not np.array_equal(encoded(bgr, crops), encoded(rgb, crops))
    assert bgr.fingerprint() != rgb.fingerprint()
    assert rgb.fingerprint() == crop_encoder(RANDOM_VIT).fingerprint()
    assert rgb.fingerprint() != crop_encoder(RANDOM_CNN).fingerprint()


def test_random_weights_leave_the_generator_alone() -> None:
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    crop_encoder(RANDOM_VIT)
    assert torch.rand(1) == first


def test_doubts_about_magnified_crops() -> None:
    encoder = crop_encoder(RANDOM_VIT)  # 160 pixels
    assert encoder.doubts(0.7, 112.0) == ()
    assert encoder.doubts(1.05, 112.0) == ()
    (doubt,) = encoder.doubts(2.1, 112.0)
    assert "112 µm are magnified 3.0 times, to the 160 pixels" in doubt
    assert "2.1 µm per pixel" in doubt


def test_what_is_not_a_number_is_refused() -> None:
    encoder = crop_encoder(RANDOM_VIT)
    assert isinstance(encoder, TimmEncoder)
    with torch.no_grad():
        encoder._forward.replicas[0].model.norm.bias[0] = torch.inf
    with pytest.raises(InferenceError, match="not a number"):
        encoded(encoder, noise(1))
