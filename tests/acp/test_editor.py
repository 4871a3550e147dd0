"""The lines that an editor sends, on pipes: those that are too long, cut anywhere, and without an end."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_acp import editor
from port42_acp.editor import Editor

LIMIT = 200


@pytest.fixture(scope="module", autouse=True)
def low_limit():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(editor, "LINE_LIMIT", LIMIT)
        patch.setattr(editor, "_PIECE", 64)
        yield


def request(number, text=""):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "echo", "params": {"text": text}}).encode()


async def speak(pieces, stdout):
    """Send these bytes to an `Editor`, which answers on the descriptor."""

    async def echo(params):
        return params

    async def end():
        return

    stdin, theirs = os.pipe()
    served = asyncio.create_task(Editor(stdin, stdout).serve({"echo": echo}, end))
    for piece in pieces:
        await asyncio.to_thread(os.write, theirs, piece)
    os.close(theirs)
    await served
    os.close(stdin)


def answers_to(pieces):
    """What is answered, by id, and how many messages are refused as too long."""
    answers, stdout = os.pipe()
    asyncio.run(speak(pieces, stdout))
    os.close(stdout)
    with os.fdopen(answers, "rb") as reader:
        came = [json.loads(line) for line in reader]
    refused = [answer for answer in came if answer["id"] is None]
    assert all(f"at most {LIMIT:,} bytes" in answer["error"]["message"] for answer in refused)
    return {answer["id"]: answer["result"]["text"] for answer in came if answer["id"] is not None}, len(
        refused
    )


@settings(max_examples=20)
@given(st.lists(st.sampled_from(["", "short", "long" * LIMIT]), min_size=1, max_size=5), st.data())
def test_a_line_that_is_too_long_is_refused_and_all_others_are_answered(texts, data):
    sent = b"\n".join(request(number, text) for number, text in enumerate(texts))
    cut = data.draw(st.integers(0, len(sent)))
    answers, refused = answers_to([sent[:cut], sent[cut:]])
    assert answers == {number: text for number, text in enumerate(texts) if len(text) < LIMIT}
    assert refused == sum(len(text) >= LIMIT for text in texts)
