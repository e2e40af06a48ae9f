"""Images on web servers that redirect, never end, never begin, or give something else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.storage.images import decode, fetch, read_image
from mira_batch.storage.stores import FetchStopped, read_version
from tests.support.pictures import corners, encoded

PNG = encoded(corners(), "PNG")
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: dict[str, Answer]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.answers[self.path](self)

    do_HEAD = do_GET

    def give(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


class Web:
    """A running server."""

    def __init__(self, url: str, asked: list[str]) -> None:
        self.url = url
        self.asked = asked
        self.source = InputConfig(manifest="/m.csv", allow=(f"{url}/images",), max_bytes=100_000)
        self.storage = StorageConfig(timeout_seconds=1, retry_seconds=0.5)

    def read(self, path: str, stopped: Callable[[], bool] = lambda: False) -> str:
        """How it ends: `ok`, or the kind and message."""
        uri = f"{self.url}{path}"
        try:
            image = read_image(
                uri, lambda data: decode(data, uri, self.source), self.source, self.storage, stopped=stopped
            )
        except RecordError as error:
            return f"{error.kind}: {error}"
        return "ok" if image.tobytes() == corners().tobytes() else "another image"


@contextmanager
def web(**answers: Answer) -> Iterator[Web]:
    asked: list[str] = []
    given = {f"/images/{name}": answer for name, answer in answers.items()}
    given["/secret"] = lambda request: request.give(PNG)

    class Own(Handler):
        pass

    Own.answers, Own.asked = given, asked
    with ThreadingHTTPServer(("127.0.0.1", 0), Own) as server:
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield Web(f"http://127.0.0.1:{server.server_port}", asked)
        finally:
            server.shutdown()
            thread.join()


def redirect(to: str, status: int = 302) -> Answer:
    return lambda request: request.give(b"moved", status, Location=to)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_allowed_prefix_is_followed(status: int) -> None:
    tag = {"ETag": '"v1"'}
    with web(
        a=redirect("/images/b", status), b=redirect("c", status), c=lambda r: r.give(PNG, **tag)
    ) as server:
        assert server.read("/images/a") == "ok"
        admitted: list[str] = []
        assert read_version(f"{server.url}/images/a", server.storage, admitted.append) == "v1"
        assert admitted == [f"{server.url}/images/b", f"{server.url}/images/c"]


@pytest.mark.parametrize(
    "to",
    [
        "/secret",
        "../secret",
        "/images/../secret",
        "/images-evil/a",
        "http://169.254.169.254/latest/meta-data/",
        "//localhost/images/b",
        "https://127.0.0.1/images/b",
    ],
)
def test_a_redirect_that_leads_out_is_refused(to: str) -> None:
    with web(a=redirect(to)) as server:
        found = server.read("/images/a")
        assert found.startswith(f"image_forbidden: {server.url}/images/a: the server redirects, but http")
        assert "lies outside input.allow" in found
        assert server.asked == ["GET /images/a"], "nothing else is asked for"


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("file:///etc/passwd", "the server redirects to file:///etc/passwd, which is not followed"),
        ("ftp://127.0.0.1/images/b", "the server redirects to ftp://127.0.0.1/images/b, which is not"),
        ("http://me:pw@127.0.0.1/images/b", "the server redirects to http://127.0.0.1/images/b, which is"),
    ],
)
def test_a_redirect_to_no_web_page_is_refused(to: str, why: str) -> None:
    with web(a=redirect(to)) as server:
        found = server.read("/images/a")
        assert why in found and "pw" not in found


def test_redirects_that_never_end_or_lead_nowhere() -> None:
    with web(
        a=redirect("/images/a"),
        b=lambda r: r.give(b"", 302),
        c=lambda r: r.give(b"", 304),
    ) as server:
        assert "redirects more than 5 times" in server.read("/images/a")
        assert "redirects (302), but does not say where to" in server.read("/images/b")
        assert "answers 304 Not Modified, which is no file" in server.read("/images/c")


def test_what_a_server_answers_in_place_of_an_image_is_said() -> None:
    number = iter(range(100))

    def login(request: Handler) -> None:
        request.give(f"<html>please log in, your token is {next(number)}</html>".encode())

    with web(
        login=login,
        gone=lambda r: r.give(b"", 404),
        denied=lambda r: r.give(b"", 403),
        empty=lambda r: r.give(b""),
    ) as server:
        assert "it is HTML ('<html>please log in, your token is 1" in server.read("/images/login")
        assert len(server.asked) == 2, "read twice; a page is never twice the same"
        assert server.read("/images/gone").endswith("/images/gone: no such file")
        assert "access denied" in server.read("/images/denied") and "403" in server.read("/images/denied")
        assert "it is empty (0 bytes)" in server.read("/images/empty")


def test_a_first_answer_that_is_wrong_is_not_believed() -> None:
    bodies = iter([PNG[: len(PNG) // 2], b"", PNG])
    with web(a=lambda r: r.give(next(bodies))) as server:
        assert server.read("/images/a") == "ok"
    other = iter(range(1000))
    with web(a=lambda r: r.give(PNG[: 20 + next(other)])) as server:
        found = server.read("/images/a")
        assert found.startswith("image_unreadable: ") and "each read gives something else" in found


def test_reading_ends_at_the_bound() -> None:
    sent = 0

    def endless(request: Handler) -> None:
        nonlocal sent
        request.close_connection = True
        request.send_response(200)
        request.end_headers()
        try:
            while sent < 400_000_000:
                sent += request.wfile.write(bytes(100_000))
        except OSError:  # the client has left
            pass

    with web(a=endless) as server:
        assert "image_too_large" in server.read("/images/a")
    assert sent < 50_000_000, "what lies in the sockets' buffers, and no more"


def test_a_server_that_is_silent_or_drips_is_given_up() -> None:
    over = threading.Event()

    def drip(request: Handler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(PNG)))
        request.end_headers()
        try:
            for byte in PNG:
                request.wfile.write(bytes([byte]))
                if over.wait(0.2):
                    return
        except OSError:
            pass

    with web(silent=lambda r: over.wait(60) and None, drip=drip) as server:
        try:
            for name in ("silent", "drip"):
                found = server.read(f"/images/{name}")
                assert "no whole answer within 1 s (storage.timeout_seconds" in found
        finally:
            over.set()


def test_a_fetch_is_given_up_when_the_run_ends() -> None:
    asked, over = threading.Event(), threading.Event()

    def silent(request: Handler) -> None:
        asked.set()
        over.wait(60)

    with web(a=silent) as server:
        server.storage = StorageConfig(timeout_seconds=500, retry_seconds=500)
        try:
            with pytest.raises(FetchStopped):
                server.read("/images/a", stopped=asked.is_set)
        finally:
            over.set()


def test_a_record_waits_no_longer_than_its_own_limit() -> None:
    over = threading.Event()
    with web(a=lambda r: over.wait(60) and None) as server:
        storage = StorageConfig(timeout_seconds=500, retry_seconds=500)
        try:
            with pytest.raises(RecordError, match="no whole answer within"):
                fetch(f"{server.url}/images/a", server.source, storage, seconds=0.5)
        finally:
            over.set()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    source = InputConfig(manifest=f"{tmp_path}/m.csv", allow=(str(tmp_path), "/dev"))

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        here = os.getcwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
        for path, kind in [
            (f"{tmp_path}/pipe", "a pipe (FIFO)"),
            (f"{tmp_path}/socket", "a socket"),
            (f"{tmp_path}/folder", "a directory"),
            ("/dev/zero", "a device"),
        ]:
            with pytest.raises(RecordError) as error:
                fetch(path, source, StorageConfig())
            assert error.value.kind is ErrorKind.image_unreadable
            assert str(error.value) == f"{path}: is {kind}, not a file"
