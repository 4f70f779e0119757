"""Weights that are fetched when told to, from a web server of our own."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

import napari_stenhance as st
from forked import no_file_beyond
from napari_stenhance.cli import app
from napari_stenhance.errors import Cancelled, InputError, StenhanceError
from napari_stenhance.features.fetching import fetch_weights
from napari_stenhance.features.network_entry import find_network
from napari_stenhance.features.networks import HALF, EncoderNetwork
from napari_stenhance.running.job import Job, Progress

COMMIT = "0" * 40
CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NETWORK = EncoderNetwork(
    name="tiny",
    arch="test_vit",
    side_px=160,
    mean=HALF,
    std=HALF,
    licence="CC0",
    repos=("gone/tiny", "someone/tiny"),
)


class Hub(ThreadingHTTPServer):
    """A web server that holds one file as Hugging Face does, and misbehaves as it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repo, self.file, self.content = "someone/tiny", "pytorch_model.bin", CONTENT
        self.etag, self.size = SHA256, len(CONTENT)
        self.refusal: tuple[int, str] | None = None
        self.at_most = 1 << 40
        """A connection breaks after so many bytes."""
        self.stays_silent = threading.Event()
        """Unless this is set, a connection that is to break says nothing more instead."""
        self.stays_silent.set()
        self.has_ranges = True
        self.elsewhere = ""
        """Where the file really lies, on another server."""
        self.asked: list[tuple[str, str, str | None]] = []
        self.tokens: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        hub, given = self.server, self.headers.get("Range")
        hub.asked.append((self.command, self.path, given))
        hub.tokens.append(self.headers.get("Authorization"))
        repo, _, file = self.path[1:].partition("/resolve/")
        refusal = hub.refusal
        if repo != hub.repo:
            refusal = 401, "RepoNotFound"
        elif file.partition("/")[2] != hub.file:
            refusal = refusal or (404, "EntryNotFound")
        if refusal is not None:
            self.send_response(refusal[0])
            self.send_header("X-Error-Code", refusal[1])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if hub.elsewhere:
            self.send_response(302)
            self.send_header("Location", hub.elsewhere)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{hub.etag}"')
            self.send_header("X-Linked-Size", str(hub.size))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(given[6:-1]) if given and hub.has_ranges else 0
        content = hub.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hub.etag}"')
        self.send_header("Content-Length", str(len(content) if body else hub.size))
        self.end_headers()
        if body:
            self.wfile.write(content[: hub.at_most])
            self.wfile.flush()
            hub.stays_silent.wait(30)
            self.close_connection = len(content) > hub.at_most


@contextmanager
def serving(server: Hub) -> Iterator[Hub]:
    with server:
        threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving(Hub()) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


def ranges(hub: Hub) -> list[str | None]:
    return [given for command, _, given in hub.asked if command == "GET"]


def partials(tmp_path: Path) -> list[Path]:
    return [p for p in (tmp_path / "hub").rglob("*stenhance*") if p.suffix == ".partial"]


def run(*arguments: object, code: int = 0) -> Any:
    ran = CliRunner().invoke(app, [str(a) for a in arguments])
    assert ran.exit_code == code, ran.output + ran.stderr
    return ran


# --- what is said --------------------------------------------------------------------------------


def test_encoders_are_listed_what_is_here_first(hub: Hub, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--histai--hibou-b" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    (snapshot / "model.safetensors").write_bytes(b"1")
    found = st.weights()
    here = [one.name for one in found if one.here]
    assert [one.name for one in found[: len(here)]] == here
    assert {"stain", "hibou-b"} <= set(here)
    assert "uni" not in here
    by_name = {one.name: one for one in found}
    assert by_name["hibou-b"].path == snapshot / "model.safetensors"
    uni = by_name["uni"]
    assert (uni.commercial, uni.gated, uni.fetched) == (False, True, True)
    assert (uni.licence, uni.size_bytes) == ("CC-BY-NC-ND-4.0", 4 * 303_350_784)
    assert not by_name["hipt-256"].fetched
    said = run("weights").stdout
    assert said.index("stain") < said.index("To be fetched") < said.index("h-optimus-0")
    assert f"hibou-b  {snapshot / 'model.safetensors'}" in said
    assert "4,539" in said
    assert hub.asked == []


def test_what_weights_ask_for_is_said_and_nothing_is_fetched(hub: Hub) -> None:
    said = run("weights", "h-optimus-1").stdout
    for part in (
        "h-optimus-1: not on this machine",
        "licence: CC-BY-NC-ND-4.0 (https://huggingface.co/bioptimus/H-optimus-1)",
        "commercial use: no",
        "terms: Its terms reach models that were trained on its output.",
        "cite: Bioptimus, H-optimus-1 (2025)",
        "size: 4,539 MB",
        "access: ask for it at https://huggingface.co/bioptimus/H-optimus-1",
        "napari-stenhance weights h-optimus-1 --yes",
    ):
        assert part in said
    by_hand = run("weights", "hipt-256").stdout
    assert (
        "MB\nEncoder hipt-256: its weights are not on this machine; fetch vit256_small" in by_hand
    )
    assert "give them as hipt?weights=FILE&weights4k=FILE" in run("weights", "hipt").stdout
    assert "see its model card" not in run("weights", "timm:resnet18").stdout
    assert hub.asked == []
    run("weights", "--yes", code=2)
    assert "uni, uni2-h" in run("weights", "unu", code=2).stderr
    with pytest.raises(InputError, match=r"name one by itself, of stain, uni2-h\.$"):
        st.weights("stain+uni2-h?channels=bgr", yes=True)
    with pytest.raises(InputError, match=r"fetch vit256_small.* hipt-256.weights=FILE"):
        st.weights("hipt-256", yes=True)
    with pytest.raises(InputError, match=r"give them as hipt.weights=FILE&weights4k=FILE"):
        st.weights("hipt", yes=True)
    with pytest.raises(InputError, match="Name the encoder"):
        st.weights(yes=True)


# --- what is fetched -----------------------------------------------------------------------------


def test_weights_are_fetched_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repo, hub.file = "timm/test_vit.r160_in1k", "model.safetensors"
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    said = run("weights", "timm:test_vit", "--yes")
    path = find_network("timm:test_vit").here()
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert str(path) in said.stdout
    assert "Fetching model.safetensors of timm:test_vit" in said.stderr
    assert set(hub.tokens) == {"Bearer hf_mine"}
    assert {path.rpartition("/")[2] for _, path, _ in hub.asked} == {hub.file}  # and nothing else
    hub.asked.clear()
    (found,) = st.weights("timm:test_vit", yes=True)
    assert (found.here, found.path) == (True, path)
    assert hub.asked == []


def test_the_token_stays_with_hugging_face(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has large files lie on other servers."""
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    with serving(Hub()) as other:
        hub.elsewhere = f"http://127.0.0.1:{other.server_port}/someone/tiny/resolve/main/{hub.file}"
        assert fetch_weights(NETWORK, Job()).read_bytes() == CONTENT
    assert set(hub.tokens) == {"Bearer hf_mine"}
    assert [(command, given) for command, _, given in other.asked] == [("GET", None)]
    assert other.tokens == [None]


def test_a_connection_that_breaks_is_made_anew(hub: Hub, tmp_path: Path) -> None:
    """As long as each brings more; the second of the repositories, and of the files, has it."""
    hub.at_most = 1_300_000
    events: list[Any] = []
    path = fetch_weights(NETWORK, Job(listener=events.append))
    assert path.read_bytes() == CONTENT
    first, second, third = ranges(hub)
    assert first is None
    assert second is not None
    assert third is not None
    assert 0 < int(second[6:-1]) < int(third[6:-1]) < len(CONTENT)
    progress = [e for e in events if isinstance(e, Progress)]
    assert (progress[-1].done, progress[-1].total) == (3, 3)
    assert all(a.done <= b.done for a, b in pairwise(progress))
    assert partials(tmp_path) == []


def test_what_was_cancelled_goes_on_from_there(hub: Hub, tmp_path: Path) -> None:
    job = Job()
    job.listener = lambda event: job.cancel() if getattr(event, "done", 0) >= 1 else None
    with pytest.raises(Cancelled, match="what came is kept"):
        fetch_weights(NETWORK, job)
    (partial,) = partials(tmp_path)
    size = partial.stat().st_size
    assert 1_000_000 <= size < len(CONTENT)
    assert NETWORK.here() is None
    assert fetch_weights(NETWORK, Job()).read_bytes() == CONTENT
    assert ranges(hub) == [None, f"bytes={size}-"]


def test_a_connection_that_falls_silent_is_left(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.at_most = 1_300_000
    hub.stays_silent.clear()
    job = Job()
    job.listener = lambda event: job.cancel() if len(ranges(hub)) == 2 else None
    with pytest.raises(Cancelled, match="what came is kept"):
        fetch_weights(NETWORK, job)
    hub.stays_silent.set()
    assert len(ranges(hub)) == 2
    assert partials(tmp_path)[0].stat().st_size > hub.at_most // 2


def test_two_processes_do_not_fetch_the_same(hub: Hub, tmp_path: Path) -> None:
    blobs = tmp_path / "hub" / "models--someone--tiny" / "blobs"
    blobs.mkdir(parents=True)
    with (
        FileLock(blobs / f"{SHA256}.stenhance.partial.lock"),
        pytest.raises(StenhanceError, match="Another process is fetching the weights of tiny"),
    ):
        fetch_weights(NETWORK, Job())
    assert ranges(hub) == []
    assert fetch_weights(NETWORK, Job()).read_bytes() == CONTENT


def test_a_server_that_begins_anew_is_followed(hub: Hub, tmp_path: Path) -> None:
    hub.at_most, hub.has_ranges = 1_300_000, False
    with pytest.raises(StenhanceError, match=r"cannot be reached .* goes on from there"):
        fetch_weights(NETWORK, Job())
    assert partials(tmp_path)
    hub.at_most = 1 << 40
    assert fetch_weights(NETWORK, Job()).read_bytes() == CONTENT


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        ((403, "GatedRepo"), r"granted: ask for it at http://127.0.0.1:.*/someone/tiny, then"),
        ((401, "GatedRepo"), "`hf auth login`, or set HF_TOKEN to your token"),
        ((401, "RepoNotFound"), "someone/tiny is not there, or not for everybody"),
        (
            (404, "EntryNotFound"),
            r"holds none of model.safetensors, pytorch_model.bin; or give a file as tiny",
        ),
        ((500, ""), "cannot be reached"),
    ],
)
def test_what_hugging_face_refuses_is_said(
    hub: Hub, refusal: tuple[int, str], sentence: str
) -> None:
    hub.refusal = refusal
    with pytest.raises(StenhanceError, match=sentence) as error:
        fetch_weights(NETWORK, Job())
    assert "\n" not in str(error.value)


def test_without_a_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(
        StenhanceError, match=r"gone/tiny cannot be reached \(Conn.*refused.*try again"
    ):
        fetch_weights(NETWORK, Job())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(StenhanceError, match="HF_HUB_OFFLINE is set"):
        fetch_weights(NETWORK, Job())
    assert hub.asked == []


def test_a_name_that_leads_out_of_the_cache_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.etag = "../../../../evil"
    with pytest.raises(
        StenhanceError, match=r"someone/tiny/pytorch_model.bin cannot be; nothing is"
    ):
        fetch_weights(NETWORK, Job())
    assert ranges(hub) == []
    assert not list(tmp_path.rglob("*evil*"))


def test_what_is_too_large_for_the_disk_is_not_begun(hub: Hub, tmp_path: Path) -> None:
    hub.size = 10**16
    with pytest.raises(StenhanceError, match=r"10,000,000,000 MB are to be fetched, and .* free;"):
        fetch_weights(NETWORK, Job())
    assert ranges(hub) == []
    assert partials(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_disk_that_is_full_in_the_middle_is_said(hub: Hub, tmp_path: Path) -> None:
    full = r"cannot be written \(File too large\); free some"
    with no_file_beyond(2_000_000), pytest.raises(InputError, match=full):
        fetch_weights(NETWORK, Job())
    # What was written by then is kept.
    (partial,) = partials(tmp_path)
    size = partial.stat().st_size
    assert 1_000_000 < size <= 2_000_000
    assert fetch_weights(NETWORK, Job()).read_bytes() == CONTENT
    assert ranges(hub) == [None, f"bytes={size}-"]


def test_what_came_wrong_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hub.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(StenhanceError, match="not what someone/tiny on Hugging Face says"):
        fetch_weights(NETWORK, Job())
    assert partials(tmp_path) == []
    hub.content = CONTENT + b"more"
    with pytest.raises(StenhanceError, match=r"More comes of pytorch_model.bin than"):
        fetch_weights(NETWORK, Job())
    hub.content = CONTENT
    assert fetch_weights(NETWORK, Job()).read_bytes() == CONTENT


# --- in the panel ---------------------------------------------------------------------------------


def test_the_panel_says_what_an_encoder_costs_and_fetches_it(hub: Hub, qtbot: Any) -> None:
    from magicgui.widgets import LineEdit
    from qtpy.QtWidgets import QMessageBox, QVBoxLayout, QWidget

    from napari_stenhance.plugin.widgets.encoder_box import EncoderBox
    from napari_stenhance.plugin.widgets.run_bar import RunBar

    hub.repo = "bioptimus/H-optimus-1"
    hub.file = "model.safetensors"
    panel, field = QWidget(), LineEdit(value="stain")
    qtbot.addWidget(panel)
    run_bar = RunBar(panel, {"encoder": "Tissue features"})
    box = EncoderBox(panel, field, run_bar)
    column = QVBoxLayout(panel)
    for widget in (field.native, box, run_bar):
        column.addWidget(widget)
    panel.show()
    qtbot.waitUntil(lambda: box.list.count() > 1, timeout=20_000)
    listed = [box.list.itemText(n) for n in range(box.list.count())]
    here, away = listed.index("— on this machine —"), listed.index("— to be fetched —")
    assert here < listed.index("stain") < away
    uni = listed.index("uni (CC-BY-NC-ND-4.0, 1,213 MB, on request)")
    assert uni > away
    assert (box.about.isVisible(), box.fetch.isVisible()) == (False, False)

    # A heading is no choice; an encoder is, and one that is joined to another.
    box.list.activated.emit(away)
    assert field.value == "stain"
    box.list.activated.emit(uni)
    assert field.value == "uni"
    field.value = "stain+h-optimus-1?channels=bgr"
    assert "h-optimus-1 is not on this machine: CC-BY-NC-ND-4.0, 4,539 MB" in box.about.text()
    assert (box.about.isVisible(), box.fetch.isVisible()) == (True, True)
    for given in ("uni?weights=/w.bin", "uni?pretrained=false", "nothing of that name"):
        field.value = given
        assert not box.fetch.isVisible()
    field.value = "hipt-256"
    assert (box.about.isVisible(), box.fetch.isVisible()) == (True, False)
    assert "fetch vit256_small_dino.pth from https://github.com" in box.about.text()

    field.value = "stain+h-optimus-1"
    box.fetch.click()
    question = box.findChild(QMessageBox)
    for part in (
        "CC-BY-NC-ND-4.0, no commercial use",
        "terms reach models that were trained on its output",
        "https://huggingface.co/bioptimus/H-optimus-1",
        "hf auth login",
        "Bioptimus, H-optimus-1 (2025)",
        "4,539 MB",
    ):
        assert part in question.informativeText()
    question.button(QMessageBox.StandardButton.Cancel).click()
    assert not run_bar.busy
    assert hub.asked == []
    box.fetch.click()
    question = box.findChildren(QMessageBox)[-1]
    (accept,) = (b for b in question.buttons() if b.text() == "Accept and fetch")
    accept.click()
    qtbot.waitUntil(lambda: not run_bar.busy and not box.fetch.isVisible(), timeout=20_000)
    assert run_bar.label.text() == "The weights of h-optimus-1 are on this machine."
    assert find_network("h-optimus-1").here() is not None
    listed = [box.list.itemText(n) for n in range(box.list.count())]
    assert listed.index("h-optimus-1") < listed.index("— to be fetched —")

    # What goes wrong is said in the panel.
    field.value = "uni"
    box.fetch.click()
    accept = next(
        b for b in box.findChildren(QMessageBox)[-1].buttons() if b.text() == "Accept and fetch"
    )
    accept.click()
    qtbot.waitUntil(lambda: not run_bar.busy, timeout=20_000)
    assert "is not there, or not for everybody" in run_bar.error.text()


@pytest.mark.network
def test_weights_are_fetched_from_hugging_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (found,) = st.weights("timm:test_vit.r160_in1k", yes=True)
    assert found.path is not None
    assert found.path.stat().st_size > 1_000_000
