"""A Hugging Face hub on a loopback port: the three requests that a download makes, over real HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repository: str, files: Path) -> Iterator[str]:
    """Serve the files of one model at revision `main` and at COMMIT; yields the endpoint."""

    def listing() -> list[tuple[str, int]]:
        found = [(p.relative_to(files).as_posix(), p.stat().st_size) for p in files.rglob("*") if p.is_file()]
        return sorted(found)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            api = f"/api/models/{repository}"
            if path.startswith(f"{api}/revision/"):
                return self._revision(path.removeprefix(f"{api}/revision/"))
            if path == f"{api}/tree/{COMMIT}":
                return self._json([{"type": "file", "path": n, "size": s, "oid": n} for n, s in listing()])
            file = files / path.removeprefix(f"/{repository}/resolve/{COMMIT}/")
            if not file.is_file():
                return self._refuse("EntryNotFound" if repository in path else "RepoNotFound")
            self._answer(file.read_bytes())

        do_HEAD = do_GET

        def _revision(self, revision: str) -> None:
            if revision not in ("main", COMMIT):
                return self._refuse("RevisionNotFound")
            siblings = [{"rfilename": name, "size": size} for name, size in listing()]
            self._json({"id": repository, "sha": COMMIT, "siblings": siblings})

        def _json(self, document: object) -> None:
            self._answer(json.dumps(document).encode(), "application/json")

        def _answer(self, body: bytes, kind: str = "application/octet-stream") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def _refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Not a word."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
