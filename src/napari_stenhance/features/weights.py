"""Weights of networks, from files that nobody vouches for: found, read and checked, never run.

Nothing here downloads. Files are read as tensors only; a file is refused unless it fits its network
to the last key, since a network with some random weights predicts without a complaint.
"""

from __future__ import annotations

import argparse
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.features.layouts import fit_positions, timm_layout
from napari_stenhance.features.positions import Resizing
from napari_stenhance.storage.hashing import file_hash

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

_CUT = "truncated", "unexpected EOF"
"""What pickle and torch say where a file ends too early."""
_POINTER = b"version https://git-lfs.github.com/spec/v1"
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher")
_SHOWN = 5


def in_hub_cache(repos: Sequence[str], files: Sequence[str]) -> Path | None:
    """Find a file that was once fetched from Hugging Face, without asking the network.

    Parameters
    ----------
    repos, files : sequence of str
        Whichever is there first, in this order; `$HF_HOME` and `$HF_HUB_CACHE` say where.
    """
    from huggingface_hub import try_to_load_from_cache

    for repo in repos:
        for file in files:
            found = try_to_load_from_cache(repo, file)
            if isinstance(found, str):
                return Path(found)
    return None


def in_package(package: str, file: str) -> Path | None:
    """Find a file of an installed package, whose code is not run."""
    found = find_spec(package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    return None


def weights_hash(path: Path) -> str:
    """Return the SHA-256 of a file of weights, in hexadecimal; read once while it is unchanged.

    Raises
    ------
    InputError
        If there is no such file, or it cannot be read.
    """
    _start(path)
    return file_hash(path)


def load_weights(
    model: torch.nn.Module, path: Path, *, trained: bool, resizing: Resizing = "smooth"
) -> None:
    """Read weights into a network, whose every parameter and buffer they must give.

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters may be on the device "meta", where they take no memory: then they are made.
    path : Path
        A `.safetensors`, or what `torch.save` wrote, with the names of timm, transformers or Meta.
    trained : bool
        Whether to refuse a vision transformer that was saved before it was trained.
    resizing : {"smooth", "plain", "dino"}
        How a table of positions for pictures of another size is resized.

    Raises
    ------
    InputError
        If the file is missing, damaged, unsafe, or holds other weights.
    """
    expected = model.state_dict()
    state = timm_layout(_tensors(_read(path, _fewest_bytes(expected))), expected)
    fit_positions(state, model, resizing)
    wrong = {
        "missing": [k for k in expected if k not in state],
        "unexpected": [k for k in state if k not in expected],
        "of another shape": [
            f"{k} {tuple(v.shape)} instead of {tuple(expected[k].shape)}"
            for k, v in state.items()
            if k in expected and v.shape != expected[k].shape
        ],
    }
    if any(wrong.values()):
        found = "; ".join(f"{len(w)} {kind} ({_some(w)})" for kind, w in wrong.items() if w)
        msg = f"{path}: these weights are of another network: {found}; give the file of this one."
        raise InputError(msg)
    coded = [
        k for k, v in state.items() if expected[k].is_floating_point() and not v.is_floating_point()
    ]
    if coded:
        msg = (
            f"{path}: weights are whole numbers where this network has fractions "
            f"({_some(coded)}), as if they were quantised; give those that were not."
        )
        raise InputError(msg)
    broken = [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        msg = f"{path}: weights are not finite numbers ({_some(broken)}); fetch the file again."
        raise InputError(msg)
    if trained and _untrained(state):
        msg = f"{path}: these weights were never trained; give the file that was published."
        raise InputError(msg)
    model.load_state_dict(_copies(state, expected), strict=True, assign=True)


def _copies(state: State, expected: State) -> State:
    """Take tensors out of a file that may be gone tomorrow, into memory that torch has aligned."""
    import torch

    return {
        key: torch.empty(value.shape, dtype=expected[key].dtype).copy_(value)
        for key, value in state.items()
    }


def _fewest_bytes(expected: State) -> int:
    """Say how large a file of weights is at least: in half precision, with few positions."""
    return sum(2 * v.numel() for k, v in expected.items() if k != "pos_embed")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _untrained(state: State) -> bool:
    """Tell random initial weights: layers are all scaled alike, or positions are all the same."""
    scales = [v for k, v in state.items() if k.endswith((".ls1.gamma", ".ls2.gamma"))]
    alike = bool(scales) and all(bool((v == v.flatten()[0]).all()) for v in scales)
    return alike or ("pos_embed" in state and float(state["pos_embed"].float().std()) == 0)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1024)
    except OSError as error:
        msg = f"{path}: this file of weights cannot be read ({error.strerror}); give one that can."
        raise InputError(msg) from error


def _read(path: Path, fewest_bytes: int) -> Any:
    """Read whatever the file holds, if it is a file of weights."""
    start = _start(path)
    if start.startswith(_POINTER):
        pointer = " ".join(start.decode("utf-8", "replace").split()[3:])
        msg = (
            f"{path}: this is what Git LFS leaves in place of the weights ({pointer}); fetch the "
            "file itself, with `git lfs pull` or from its web page."
        )
        raise InputError(msg)
    if not start:
        msg = f"{path}: this file is empty; fetch it again, whole."
        raise InputError(msg)
    # The first eight bytes are a length, and may look like anything.
    if start[8:9] == b"{":
        return _read_safetensors(path, fewest_bytes)
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return _read_torch(path, fewest_bytes, zipped=start.startswith(b"PK"))
    if start.lstrip().startswith((b"<", b"{")):
        msg = (
            f"{path}: this is a web page or a message that was saved instead of the weights; "
            "fetch the file again, signed in if access to it must be granted."
        )
        raise InputError(msg)
    msg = (
        f"{path}: this is neither a safetensors file nor one that torch.save wrote; "
        "give one of these."
    )
    raise InputError(msg)


def _read_safetensors(path: Path, fewest_bytes: int) -> State:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        cut = _too_few(path, fewest_bytes)
        msg = f"{path}: the weights are damaged ({cut or error}); fetch the file again."
        raise InputError(msg) from error


def _read_torch(path: Path, fewest_bytes: int, *, zipped: bool) -> Any:
    import torch

    try:
        # Training scripts of vision transformers save their options, which can do no harm.
        # Whatever torch says of a damaged pickle, one sentence follows.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to say
        unsafe = _unsafe(path)
        few, damage = _too_few(path, fewest_bytes), _damage(path, error, zipped=zipped)
        if damage and not unsafe:
            msg = f"{path}: this file is damaged or cut off ({few or damage}); fetch it again."
            raise InputError(msg) from error
        wrong = f"is not safe to load, as it wants to run {_some(unsafe)}"
        if not unsafe:
            wrong = f"is damaged, or holds more than tensors ({few or type(error).__name__})"
        msg = (
            f"{path}: this file {wrong}; fetch it again, or convert it to safetensors where you "
            "trust it."
        )
        raise InputError(msg) from error


def _damage(path: Path, error: Exception, *, zipped: bool) -> str:
    """Say what is missing or wrong of what torch.save wrote; nothing where that cannot be told."""
    ends = f"it ends after {path.stat().st_size:,} bytes"
    if not zipped:
        cut = isinstance(error, EOFError) or any(w in str(error) for w in _CUT)
        return f"{ends}, in the middle of a tensor" if cut else ""
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError):
        return f"{ends}, and its archive does not"
    return f"the checksum of {wrong} in it is wrong" if wrong else ""


def _too_few(path: Path, fewest_bytes: int) -> str:
    """Say that a file is smaller than these weights can be."""
    size = path.stat().st_size
    return f"{size:,} bytes of at least {fewest_bytes:,}" if size < fewest_bytes else ""


def _unsafe(path: Path) -> list[str]:
    """Name what a file wants to run, where that can be told."""
    import torch

    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # noqa: BLE001  as above
        return []


def _tensors(content: Any) -> State:
    """Take the tensors out of a checkpoint of whatever training script."""
    import torch

    while isinstance(content, Mapping):
        inner = [content[w] for w in _WRAPPERS if isinstance(content.get(w), Mapping)]
        if not inner:
            return {k: v for k, v in content.items() if isinstance(v, torch.Tensor)}
        content = inner[0]
    return {}
