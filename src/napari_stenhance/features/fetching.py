"""Fetch weights from Hugging Face into its own cache: only when told to, and from where it stopped.

The library of Hugging Face finds files, signs in and keeps the cache; but of a download that broke
it keeps nothing, and weights have gigabytes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import product
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from napari_stenhance.errors import Cancelled, StenhanceError
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.running.job import Job, Stage
from napari_stenhance.storage.hashing import file_hash
from napari_stenhance.storage.reading import reason_of
from napari_stenhance.storage.writing import writing

_CHUNK = 2**18
_MB = 1e6
_NAME = re.compile(r"[0-9A-Za-z_-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GOES_ON = "what came is kept, and fetching again goes on from there"


@dataclass(frozen=True)
class _Remote:
    """A file of weights on Hugging Face: where it is, and how it is known that it came whole."""

    repo: str
    file: str
    url: str
    etag: str
    size: int


def fetch_weights(network: EncoderNetwork, job: Job) -> Path:
    """Fetch the weights of a network; nothing is asked of the web if they are here.

    What came of a download that broke off, or was cancelled, is kept, and gone on from.

    Raises
    ------
    StenhanceError
        If Hugging Face does not have them, cannot be reached, or grants no access to them; if what
        came is not what was published, or the disk is full.
    Cancelled
    """
    found = network.here()
    if found is not None:
        return found
    if not network.repos:
        how = f"; install them with `{network.install}`" if network.install else ""
        msg = f"The weights of {network.name} are not on Hugging Face{how}."
        raise StenhanceError(msg)
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.file_download import repo_folder_name

    with _unwatched():
        remote = _find(network)
        cache = Path(constants.HF_HUB_CACHE)
        folder = cache / repo_folder_name(repo_id=remote.repo, repo_type="model")
        blob = folder / "blobs" / remote.etag
        with writing(cache, "free some space, or set HF_HUB_CACHE to another folder"):
            blob.parent.mkdir(parents=True, exist_ok=True)
            if not blob.exists():
                _fetch(network, remote, blob, job)
            with _asking(remote.repo):
                # All is here: it gives it its name.
                return Path(hf_hub_download(remote.repo, remote.file))


@contextmanager
def _unwatched() -> Iterator[None]:
    """Let the library tell and ask nothing but what is fetched: no versions, no kind of user."""
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


def _find(network: EncoderNetwork) -> _Remote:
    """Ask where a network's weights are: the first of its files in the first of its places."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    missing = ""
    for repo, file in product(network.repos, network.files):
        try:
            with _asking(repo):
                about = get_hf_file_metadata(hf_hub_url(repo, file))
        except EntryNotFoundError:
            missing = f"{constants.ENDPOINT}/{repo} holds none of {', '.join(network.files)}"
            continue
        except _NoRepo as error:
            missing = str(error)
            continue
        # Files and folders are called by these.
        named = all(_NAME.fullmatch(one or "") for one in (about.etag, about.commit_hash))
        if not (named and about.etag and about.commit_hash and about.size):
            msg = (
                f"What is said of {constants.ENDPOINT}/{repo}/{file} cannot be; nothing is fetched."
            )
            raise StenhanceError(msg)
        url = hf_hub_url(repo, file, revision=about.commit_hash)
        return _Remote(repo, file, url, about.etag, about.size)
    msg = f"{missing}; or give a file as {network.name}?weights=FILE."
    raise StenhanceError(msg)


class _NoRepo(StenhanceError):
    """There is none of the name, or none that this user may know of."""


@contextmanager
def _asking(repo: str, advice: str = "try again when there is a network") -> Iterator[None]:
    """Turn whatever a request to Hugging Face raises into a sentence."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{repo}"
    try:
        yield
    except (StenhanceError, EntryNotFoundError):
        raise
    except GatedRepoError as error:
        msg = (
            f"Access to these weights must be granted: ask for it at {page}, then sign in with "
            "`hf auth login`, or set HF_TOKEN to your token."
        )
        raise StenhanceError(msg) from error
    except RepositoryNotFoundError as error:
        msg = f"{page} is not there, or not for everybody; sign in with `hf auth login`"
        raise _NoRepo(msg) from error
    except OfflineModeIsEnabled as error:
        msg = "HF_HUB_OFFLINE is set, so that nothing may be fetched; unset it."
        raise StenhanceError(msg) from error
    except Exception as error:  # which library asks differs from version to version
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk
        msg = f"{page} cannot be reached ({reason_of(error)}); {advice}."
        raise StenhanceError(msg) from error


def _fetch(network: EncoderNetwork, remote: _Remote, blob: Path, job: Job) -> None:
    """Fetch the rest of a file, and check that it is the whole one.

    A connection that broke is made anew as long as each brings more.
    """
    from filelock import FileLock, Timeout

    partial = blob.with_name(f"{blob.name}.stenhance.partial")
    # Not removed: another process may wait for the file that one looks at.
    lock = FileLock(f"{partial}.lock", blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        msg = f"Another process is fetching the weights of {network.name}; wait until it is done."
        raise StenhanceError(msg) from error
    try:
        _need_space(partial, remote.size)
        name = f"Fetching {remote.file} of {network.name}, in MB"
        partial.touch()
        with job.stage(name, int(remote.size / _MB)) as stage, partial.open("r+b") as file:
            stage.skip(int(file.seek(0, SEEK_END) / _MB))
            while file.tell() < remote.size:
                before = file.tell()
                try:
                    job.check()
                    _append(file, remote, stage)
                except Cancelled:
                    msg = f"Fetching the weights of {network.name} was cancelled; {_GOES_ON}."
                    raise Cancelled(msg) from None
                except StenhanceError:
                    if file.tell() <= before:
                        raise
                else:
                    if file.tell() <= before:
                        msg = f"{remote.file} ends early, at {before:,} bytes; {_GOES_ON}."
                        raise StenhanceError(msg)
        _check(partial, network, remote, job)
        partial.replace(blob)
    finally:
        lock.release()


def _need_space(partial: Path, size: int) -> None:
    there = partial.stat().st_size if partial.exists() else 0
    free = shutil.disk_usage(partial.parent).free
    if free < size - there:
        msg = (
            f"{partial.parent}: {(size - there) / _MB:,.0f} MB are to be fetched, and "
            f"{free / _MB:,.0f} MB are free; free some space, or set HF_HUB_CACHE to another "
            "folder."
        )
        raise StenhanceError(msg)


def _append(file: BinaryIO, remote: _Remote, stage: Stage) -> None:
    """Fetch what a file lacks, over one connection."""
    with closing(_chunks(remote, file.tell())) as chunks:
        for at, chunk in chunks:
            file.seek(at)
            file.truncate()
            end = at + len(chunk)
            if end > remote.size:
                msg = f"More comes of {remote.file} than Hugging Face says that it has; try again."
                raise StenhanceError(msg)
            file.write(chunk)
            stage.advance(int(end / _MB) - int(at / _MB))


def _chunks(remote: _Remote, start: int) -> Generator[tuple[int, bytes], None, None]:
    """Yield what comes, and where in the file it belongs: a server may begin at 0 again."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    # A connection that brings nothing for so long is made anew, and a job may be cancelled then.
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    if start:
        headers["Range"] = f"bytes={start}-"
    with (
        _asking(remote.repo, _GOES_ON),
        get_session().stream("GET", remote.url, headers=headers, timeout=timeout) as response,
    ):
        hf_raise_for_status(response)
        at = start if response.status_code == 206 else 0
        for chunk in response.iter_bytes(_CHUNK):
            yield at, chunk
            at += len(chunk)


def _check(partial: Path, network: EncoderNetwork, remote: _Remote, job: Job) -> None:
    """Refuse a file that is not what the server has, or not what was published."""
    known = [
        h for h in (remote.etag, network.sha256.get(remote.file)) if h and _SHA256.fullmatch(h)
    ]
    if known and any(file_hash(partial, job=job) != one for one in known):
        partial.unlink()
        msg = (
            f"What came of {remote.file} is not what {remote.repo} on Hugging Face says that it "
            "holds; it was thrown away: fetch it again."
        )
        raise StenhanceError(msg)
