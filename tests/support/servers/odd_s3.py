"""A small S3 server with faults on purpose: stores that ignore If-None-Match, lose answers, or are busy.

No credentials, one bucket level in the path, everything in memory. What a real store does is tested
against a real one (tests/support/servers/s3.py); this one is for what a real one won't do on request.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape, unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class OddS3:
    create_only: bool = True
    """Whether If-None-Match is honoured."""
    faults: list[str] = field(default_factory=list)
    """What goes wrong with the next PUTs, one each: "lose" carries it out and drops the answer; "busy"
    answers 503, "conflict" 409, "denied" 403, "region" 400 with the right one, "redirect" a bare 301."""
    get_faults: list[str] = field(default_factory=list)
    """The same for GETs of objects: "busy" answers 503, "cut" breaks off in mid-body."""
    gets: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    puts: int = 0
    endpoint: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def odd_s3(state: OddS3) -> Iterator[OddS3]:
    class Handler(_Handler):
        store = state

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: OddS3

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str, more: str = "") -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message>{more}</Error>".encode())

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.store.lock:
            self.store.puts += 1
            fault = self.store.faults.pop(0) if self.store.faults else None
            refused = {"busy": (503, "SlowDown"), "denied": (403, "AccessDenied")}
            refused["conflict"] = (409, "ConditionalRequestConflict")
            refused["region"] = (400, "AuthorizationHeaderMalformed", "<Region>eu-west-2</Region>")
            refused["redirect"] = (301, "PermanentRedirect")
            if fault in refused:
                return self._error(*refused[fault])
            only_new = self.headers.get("If-None-Match") == "*" and self.store.create_only
            if only_new and self._key() in self.store.objects:
                return self._error(412, "PreconditionFailed")
            self.store.objects[self._key()] = data
        if fault == "lose":
            self.close_connection = True
            self.connection.close()
            return None
        return self._answer(200, ETag='"x"')

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            return self._list(query.get("prefix", [""])[0])
        data = self.store.objects.get(self._key())
        if data is None:
            return self._error(404, "NoSuchKey")
        with self.store.lock:
            self.store.gets += 1
            fault = self.store.get_faults.pop(0) if self.store.get_faults else ""
        if fault == "busy":
            return self._error(503, "SlowDown")
        if fault == "cut":
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            return None
        return self._answer(200, data, ETag='"x"', Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT")

    do_HEAD = do_GET

    def _list(self, prefix: str) -> None:
        bucket = self._key().rstrip("/")
        rows = [
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>x</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for full, data in self.store.objects.items()
            if (key := full.removeprefix(f"{bucket}/")).startswith(prefix)
        ]
        listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(rows)}</ListBucketResult>"
        self._answer(200, listing.encode(), Content_Type="application/xml")

    def do_POST(self) -> None:  # DeleteObjects
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = re.findall(r"<Key>(.*?)</Key>", body)
        for key in keys:
            self.store.objects.pop(f"{self._key().rstrip('/')}/{unescape(key)}", None)
        done = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{done}</DeleteResult>".encode(), Content_Type="application/xml")

    def do_DELETE(self) -> None:
        self.store.objects.pop(self._key(), None)
        self._answer(204)
