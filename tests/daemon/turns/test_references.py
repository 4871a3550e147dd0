"""References: each kind read once and recorded with the message, capped, refused by the field's name."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading

import pytest
from peers.parts import answers, played

from port42_daemon.turns.references import LIMIT, MOST
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import Reference
from port42_protocol.messages.sessions import AppendMessage, CreateSession


@pytest.fixture
def ask(tmp_path):
    """`ask(reference, …)`: what was recorded of them, and what the back end was told."""
    backend = answers("noted")

    def ask(*references):
        async def work(parts):
            if not await parts.threads.files(parts.store.where, "seen-1"):
                await parts.sessions.create_session(CreateSession("agent", "seen-1", title="the parser"))
                for role, text in (("user", "build it"), ("assistant", "built"), ("error", "oops")):
                    await parts.sessions.append_message(AppendMessage("agent", "seen-1", role, text))
            result = await parts.possess("agent", "look", references=list(references))
            return (await parts.records(result.session_id))[0].references

        recorded = played(tmp_path / "home", work, agent=backend)
        return recorded, backend.turns[-1].message

    return ask


@pytest.fixture
def refused(tmp_path):
    """`refused(reference, …)`: the error; nothing is recorded and nothing asked."""
    backend = answers("noted")

    def refused(*references):
        async def work(parts):
            with pytest.raises(InvalidParams) as caught:
                await parts.possess("agent", "look", references=list(references))
            assert not list((parts.home / "sessions").iterdir())
            return caught.value

        error = played(tmp_path / "home", work, agent=backend)
        assert not backend.turns
        return error

    return refused


@pytest.fixture
def web():
    """A server: /text, /big, /latin, /gone, /to-text; `web(path)` is its URL."""

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            pages = {"/text": "grüße".encode(), "/big": b"x" * (LIMIT + 1), "/latin": b"gr\xfc\xdfe"}
            if self.path == "/to-text":
                self.send_response(302)
                self.send_header("Location", "/text")
                self.end_headers()
                return
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(pages.get(self.path, b"no"))

        def log_message(self, *_):
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever).start()
        yield lambda path: f"http://127.0.0.1:{server.server_port}{path}"
        server.shutdown()


def test_a_file(ask, tmp_path):
    path = tmp_path / "grammar.txt"
    path.write_text("expr: grüße\n")
    (recorded,), told = ask(Reference("file", str(path)))
    assert recorded == Reference("file", str(path), "expr: grüße\n")
    assert told == f"look\n\n<file {path}>\nexpr: grüße\n\n</file>"


def test_a_session_by_id_title_or_last(ask):
    for target in ("seen-1", "seen", "the parser", "last"):
        (recorded,), told = ask(Reference("session", target))
        if target != "last":
            assert recorded.content == "user: build it\n\nassistant: built"
        assert told.startswith("look\n\n<session ")


def test_a_url(ask, web):
    for path in ("/text", "/to-text"):
        (recorded,), _ = ask(Reference("url", web(path)))
        assert recorded.content == "grüße"


def test_text(ask):
    (recorded,), told = ask(Reference("text", "stdin", "piped"))
    assert recorded == Reference("text", "stdin", "piped")
    assert told == "look\n\n<text stdin>\npiped\n</text>"


def test_as_large_as_may_be(ask, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"x" * LIMIT)
    (recorded,), _ = ask(Reference("file", str(path)))
    assert len(recorded.content) == LIMIT


def test_files_that_cannot_be_read(refused, tmp_path):
    (tmp_path / "large").write_bytes(b"x" * (LIMIT + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    os.mkfifo(tmp_path / "fifo")
    for name, words in {
        "large": f"expected a file of at most {LIMIT:,} bytes",
        "binary": "expected text in UTF-8",
        "fifo": f"expected a file of at most {LIMIT:,} bytes",
        ".": f"expected a file of at most {LIMIT:,} bytes",
        "none": "expected a file that can be read",
        "nul\x00": "expected a file that can be read",
        "x" * 300: "expected a file that can be read",
    }.items():
        error = refused(Reference("text", "t", "fine"), Reference("file", f"{tmp_path}/{name}"))
        assert error.message.startswith(f"references[1]: {words}"), name
        assert error.data["field"] == "references[1]"
    assert "expected an absolute path" in refused(Reference("file", "grammar.txt")).message


def test_a_terminal_does_not_become_the_daemons():
    ours, theirs = os.openpty()
    code = """if True:
        import os, sys
        from port42_daemon.turns import references
        from port42_protocol.errors import InvalidParams
        try:
            references._file("file", sys.argv[1])
        except InvalidParams as error:
            print(error)
        os.open("/dev/tty", os.O_RDONLY)"""
    command = [sys.executable, "-c", code, os.ttyname(theirs)]
    done = subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert "it is not a file" in done.stdout
    assert "No such device or address: '/dev/tty'" in done.stderr


def test_urls_that_cannot_be_had(refused, web):
    for url, words in {
        web("/big"): f"expected at most {LIMIT:,} bytes",
        web("/latin"): "expected text in UTF-8",
        web("/gone"): "expected a URL that answers 200",
        "ftp://example.org/": "expected an http or https URL",
        "http://": "expected a URL that can be reached",
        "http://127.0.0.1:1/": "expected a URL that can be reached",
        "http://[::1/": "expected a URL that can be reached",
        "http://a b/": "expected a URL that can be reached",
        "http://\x00/": "expected a URL that can be reached",
        f"http://{'a' * 300}/": "expected a URL that can be reached",
        "http://127.0.0.1:99999/": "expected a URL that can be reached",
    }.items():
        error = refused(Reference("url", url))
        assert error.message.startswith(f"references[0]: {words}"), url
        assert "Error" not in error.message.replace(url, "")  # no name of an exception


def test_why_a_url_cannot_be_reached(refused):
    assert refused(Reference("url", "http://127.0.0.1:1/")).message.endswith("1/: connection refused")
    assert refused(Reference("url", "http://[::1/")).message.endswith("[::1/, which is no address")


def test_sessions_that_are_none(refused):
    for target in ("none", "last"):
        assert refused(Reference("session", target)).message.startswith("references[0]: expected a session")


def test_content_where_it_belongs(refused):
    assert "content with a text reference" in refused(Reference("text", "stdin")).message
    assert "no content with a file reference" in refused(Reference("file", "/a", "x")).message


def test_how_many(refused):
    many = [Reference("text", "t", "x")] * (MOST + 1)
    assert refused(*many).message == f"references: expected at most {MOST} references, got {MOST + 1} of them"
