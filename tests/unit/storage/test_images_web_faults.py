"""What is said of a web server that does something amiss, and that it spoils no other's image."""

from __future__ import annotations

import time

import pytest

from mira_batch.config.edit import InputConfig
from tests.unit.storage.test_images_web import PNG, Answer, Handler, web


def cut_off(request: Handler) -> None:
    request.close_connection = True
    request.give(PNG[:50], Content_Length=str(len(PNG)))


def cut_off_in_chunks(request: Handler) -> None:
    request.close_connection = True
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"%x\r\n" % len(PNG) + PNG[:50])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda r: r.give(b"", 451),
            "answers 451 Unavailable For Legal Reasons in place of the file; open the",
        ),
        (lambda r: r.give(b"", 418), "answers 418 I'm a Teapot in place of the file; open the URI"),
        (lambda r: r.give(b"", 503), "answers 503 Service Unavailable in place of the file; try again when"),
        (lambda r: r.give(b"", 507), "answers 507 Insufficient Storage in place of the file; open the URI"),
        (
            lambda r: r.give(PNG, Content_Length="-5"),
            "no valid HTTP, or longer than it says (Invalid character",
        ),
        (
            lambda r: r.give(PNG, Content_Length="many"),
            "no valid HTTP, or longer than it says (Invalid character",
        ),
        (
            lambda r: r.give(PNG, Content_Encoding="gzip"),
            "says that it packed its answer, which can't be unp",
        ),
        (cut_off, "the server broke off before the end of its answer; try again when the server is well"),
        (cut_off_in_chunks, "the server broke off before the end of its answer; try again when"),
    ],
)
def test_what_a_server_does_amiss_is_said_in_plain_words(answer: Answer, said: str) -> None:
    with web(a=answer) as server:
        found = server.read("/images/a")
        assert found.startswith(f"image_unreadable: {server.url}/images/a: the server") and said in found
        assert "Error" not in found and "message=" not in found


def test_a_server_that_is_not_there_is_said_in_plain_words() -> None:
    with web() as server:
        pass
    found = server.read("/images/a")
    where = server.url.removeprefix("http://")
    assert f"/images/a: the server at {where} takes no connection (Con" in found and "another run_id" in found


def test_a_body_that_is_longer_than_announced_spoils_no_other_image() -> None:
    """The rest of it comes when the connection is in use again."""

    def overlong(request: Handler) -> None:
        request.give(PNG)
        time.sleep(0.2)
        request.wfile.write(b"x" * 500)

    with web(long=overlong, good=lambda r: r.give(PNG)) as server:
        for _ in range(3):
            assert server.read("/images/long") == "ok"
            assert server.read("/images/good") == "ok"
        assert server.asked.count("GET /images/good") >= 3


def test_a_password_in_the_uri_of_an_image_is_not_repeated() -> None:
    with web(a=lambda r: r.give(b"no image"), b=lambda r: r.give(b"", 404)) as server:
        server.url = server.url.replace("http://", "http://ann:s3cret@")
        hidden = server.url.replace("ann:s3cret", "***")
        assert server.read("/images/a").startswith(f"image_forbidden: {hidden}/images/a: lies outside input.")
        server.source = InputConfig(manifest="/m.csv", allow=("http://",))
        for name in ("a", "b", "../c"):
            found = server.read(f"/images/{name}")
            assert f"{hidden}/images/{name}" in found and "s3cret" not in found and "ann" not in found
