"""A run that ends while an image's server is silent: the record is left to the next call, and none waits."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mira_batch.config.load import load_job_config
from mira_batch.core.errors import RunStopped
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.launch import make_job
from mira_batch.runtime import run as runner
from tests.support.pictures import corners, encoded


@pytest.mark.parametrize("job", ["edit", "inspect"])
def test_a_fetch_that_hangs_does_not_keep_a_run_that_is_to_end(job: str, tmp_path: Path) -> None:
    asked, answering = threading.Event(), threading.Event()
    body = encoded(corners(), "PNG")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            answering.wait(120)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        row = {"record_id": "far", "image": f"{url}/a.png", "instruction": "mirror it"}
        (tmp_path / "m.jsonl").write_text(json.dumps(row))
        source = {"manifest": f"{tmp_path}/m.jsonl", "allow": [url], "identity": "uri"}
        settings = {
            "job": job,
            "input": source,
            "output": {"uri": f"{tmp_path}/out"},
            "storage": {"timeout_seconds": 1_000, "retry_seconds": 1_000},
            "limits": {"grace_seconds": 1_000},
            "backend": "inline",
        }
        given = make_job(load_job_config(settings))
        stop = StopRequest()

        def end() -> None:
            asked.wait(60)
            stop.ask(RunEnd.interrupted, "enough")

        ending = threading.Thread(target=end)
        ending.start()
        try:
            with pytest.raises(RunStopped) as stopped:
                runner.run(given, stop=stop)
            assert stopped.value.summary.committed == 0
            answering.set()
            done = runner.run(given)
            assert done.complete and done.tally.ok == 1, "and no record has failed for it"
        finally:
            answering.set()
            ending.join()
            server.shutdown()
            thread.join()
