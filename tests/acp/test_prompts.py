"""Content blocks become a message and references, or an error that names the block."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_acp import messages as m
from port42_acp import prompts
from port42_protocol.errors import InvalidParams


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


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_images_and_sounds_are_refused(kind):
    with pytest.raises(InvalidParams, match=rf"^prompt\[1\]: expected text, .*, got {kind}$"):
        read(words("look"), {"type": kind, "data": "AA", "mimeType": "x/y"})


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
