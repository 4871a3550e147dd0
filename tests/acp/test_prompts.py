"""Content blocks become a message and references, or an error that names the block."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_acp import images, prompts
from port42_acp import messages as m
from port42_client.errors import Refused
from port42_protocol.errors import InvalidParams

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def read(*blocks):
    return prompts.read(m.read(m.Prompt, {"sessionId": "s", "prompt": list(blocks)}).prompt)


def link(uri):
    return {"type": "resource_link", "uri": uri, "name": "x"}


def resource(uri="zed:///a", **contents):
    return {"type": "resource", "resource": {"uri": uri, **contents}}


def words(text):
    return {"type": "text", "text": text}


def test_texts_are_one_message():
    assert read(words("a "), words("b")) == ("a b", [])


def test_a_text_file_is_attached_once_and_others_are_named(tmp_path):
    text, data, long = (tmp_path / name for name in ("a%.txt", "b.bin", "c.txt"))
    text.write_text("grüße")
    data.write_bytes(b"\xff")
    long.write_text("x" * (prompts.FILE_BYTES + 1))
    os.mkfifo(tmp_path / "fifo")
    uris = [path.as_uri() for path in (text, text, data, long, tmp_path, tmp_path / "fifo", tmp_path / "no")]
    message, references = read(*map(link, uris))
    assert references == [{"type": "file", "target": str(text)}]
    assert message.startswith(f"{text}{text}{data}")


def test_lines_and_addresses_stand_in_the_message():
    message, references = read(link("file:///a.py#L3-7"), words(" and "), link("https://example.org/#x"))
    assert message == "/a.py#L3-7 and https://example.org/#x"
    assert references == [{"type": "url", "target": "https://example.org/#x"}]
    assert read(link("zed:///thread/1")) == ("zed:///thread/1", [])
    assert read(link("file://elsewhere/a.py")) == ("file://elsewhere/a.py", [])


def test_the_text_of_a_resource_is_attached():
    message, references = read(words("see "), resource("file:///not/saved.py", text="draft"))
    assert message == "see /not/saved.py"
    assert references == [{"type": "text", "target": "/not/saved.py", "content": "draft"}]


def test_bytes_of_a_file_are_named_and_others_refused():
    assert read(resource("file:///p.png", blob="AA"))[0] == "/p.png"
    with pytest.raises(InvalidParams, match=r"^prompt\[0\]: expected text"):
        read(resource(blob="AA"))


def test_sounds_are_refused():
    with pytest.raises(InvalidParams, match=r"^prompt\[1\]: expected text, .*, got audio$"):
        read(words("look"), {"type": "audio", "data": "AA", "mimeType": "x/y"})


def image(data=PIXEL, mime_type="image/png", **more):
    return {"type": "image", "data": data, "mimeType": mime_type, **more}


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_an_image_is_a_file_that_only_its_user_can_read(cache):
    message, references = read(words("look at "), image(), words(" and "), image())
    path, again = (Path(name) for name in message.removeprefix("look at ").split(" and "))
    assert path == again
    assert references == []
    assert path.read_bytes() == base64.b64decode(PIXEL)
    assert path.suffix == ".png"
    assert path.is_relative_to(cache)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_an_image_replaces_what_another_put_in_its_place(cache):
    path = Path(read(image())[0])
    (cache / "other").write_text("keep")
    path.unlink()
    path.symlink_to(cache / "other")
    assert Path(read(image())[0]).read_bytes() == base64.b64decode(PIXEL)
    assert (cache / "other").read_text() == "keep"


def test_images_that_were_sent_long_ago_are_deleted(cache):
    path = Path(read(image())[0])
    old = time.time() - images.KEPT_DAYS * 86_400 - 1
    os.utime(path, (old, old))
    later = Path(read(image(data="AAAA"))[0])
    assert [entry.name for entry in path.parent.iterdir()] == [later.name]


def test_an_image_that_is_a_file_already_is_named(cache):
    assert read(image(data="", uri="file:///a%20picture.png"))[0] == "/a picture.png"


@pytest.mark.parametrize(
    ("block", "error"),
    [
        (image(data="ÿ"), r"prompt\[0\].data: expected an image in base64"),
        (image(data=""), r"prompt\[0\].data: expected an image in base64"),
        (image(mime_type="image/../x"), r"prompt\[0\].mimeType: expected one of image/png, .*got image/../x"),
        (image(data=1), r"prompt\[0\].data: expected text"),
    ],
)
def test_what_is_no_image_is_named(block, error, cache):
    with pytest.raises(InvalidParams, match=f"^{error}"):
        read(block)
    assert list(cache.iterdir()) == []


def test_an_image_that_cannot_be_kept_says_why(cache):
    (cache / "port42").touch()
    (cache / "Library").touch()  # of macOS
    with pytest.raises(Refused, match="the image cannot be kept: not a directory"):
        read(image())


def test_another_machine_is_sent_texts_and_no_files_of_this_one(tmp_path):
    (tmp_path / "a.txt").write_text("here")
    blocks = m.read(m.Prompt, {"sessionId": "s", "prompt": [link((tmp_path / "a.txt").as_uri())]}).prompt
    target = str(tmp_path / "a.txt")
    assert prompts.read(blocks, elsewhere=True) == (
        target,
        [{"type": "text", "target": target, "content": "here"}],
    )
    blocks = m.read(m.Prompt, {"sessionId": "s", "prompt": [image()]}).prompt
    with pytest.raises(InvalidParams, match=r"prompt\[0\]: expected no image: the agent is elsewhere"):
        prompts.read(blocks, elsewhere=True)


def test_bounds():
    with pytest.raises(InvalidParams, match=r"prompt\[0\].resource.text: expected text of at most 262,144"):
        read(resource(text="x" * (prompts.TEXT_CHARS + 1)))
    with pytest.raises(InvalidParams, match=r"prompt\[16\]: expected at most 16"):
        read(*[resource(text="x")] * 17)
    with pytest.raises(InvalidParams, match="prompt: expected text that is not blank"):
        read(words(" "))
    with pytest.raises(InvalidParams, match="prompt: expected text that is not blank"):
        read()


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({}, "sessionId parameter required"),
        ({"sessionId": "../x", "prompt": []}, "sessionId: expected the id of a session"),
        ({"sessionId": "s", "prompt": "hi"}, "prompt: expected a list of content blocks"),
        ({"sessionId": "s", "prompt": [{"type": "video"}]}, r"prompt\[0\].type: expected one of text"),
        ({"sessionId": "s", "prompt": [{"type": "text"}]}, r"prompt\[0\].text parameter required"),
        ({"sessionId": "s", "prompt": [{"type": "text", "text": 1}]}, r"prompt\[0\].text: expected text"),
    ],
)
def test_what_is_wrong_is_named(params, error):
    with pytest.raises(InvalidParams, match=f"^{error}"):
        m.read(m.Prompt, params)


@given(st.text() | st.text("/:#%\x00\n[]@ab").map("file:".__add__))
def test_no_address_breaks_it(uri):
    try:
        message, references = read(words("x"), link(uri), resource(uri, text="t"))
    except InvalidParams as error:
        pytest.fail(str(error))
    assert message.startswith("x")
    assert all(1 <= len(reference["target"]) <= 4096 for reference in references)
