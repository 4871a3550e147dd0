"""Files with many sessions: aider's histories, exports of ChatGPT and claude.ai."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.chat_exports import CHATGPT, CLAUDE_AI
from peers.tool_sessions import (
    LIMITS,
    TOOLS,
    check,
    read_all,
    told,
)

from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import sources
from port42_protocol.messages.records import ToolRecord

# --- aider ----------------------------------------------------------------------------------------


def test_each_start_of_aider_is_a_session():
    first, second, third = read_all(TOOLS / "aider/edit").values()
    assert told(first) == [
        "user: How many kilos of rye are there?",
        "assistant: There are 10 kilos of rye in the bin.",
    ]
    assert told(second) == ["user: And how much wheat?", "assistant: 4 kilos of wheat."]
    assert told(third)[0] == "user: Correct the wheat."
    assert told(third)[1].endswith("=======\nwheat: 5 kg\n>>>>>>> REPLACE\n```")
    assert told(third)[2:] == ["tool: grain.txt done"]
    assert third.info.model == "openai/gpt-4.1"


def test_aiders_commands_are_not_words_to_the_model(tmp_path):
    path = tmp_path / ".aider.chat.history.md"
    path.write_text(
        "\n# aider chat started at 2026-03-01 10:00:00\n\n> Aider v0.86.2  \n"
        "#### /add src/a.py  \n> Added src/a.py to the chat.  \n"
        "#### /ask why is it slow?  \n#### I mean the loop.  \n\nIt is quadratic.\n\n> Tokens: 2k sent.  \n"
        "#### !ls  \n"
        "\n# aider chat started at 2026-03-01 11:00:00\n\n> Aider v0.86.2  \n"
    )
    _, [first, empty] = sources(tmp_path, "auto")
    assert told(first.read(LIMITS)[0]) == [
        "user: /ask why is it slow?\nI mean the loop.",
        "assistant: It is quadratic.",
    ]
    with pytest.raises(Skipped, match="no messages"):
        empty.read(LIMITS)


STARTED = "\n# aider chat started at 2026-03-01 10:00:00\n\n> Aider v0.86.2  \n"


def read_aider(tmp_path, text):
    path = tmp_path / ".aider.chat.history.md"
    path.write_text(STARTED + text)
    [[session]] = [source.read(LIMITS) for source in sources(path, "aider")[1]]
    return session


def test_a_models_headings_and_aiders_questions_are_not_the_persons_words(tmp_path):
    reply = "Two steps:\n\n#### Step 1\n\nHoist.\n"
    text = f"\n#### How?  \n####   \n#### Tell me.  \n\n{reply}\n#### a.py? (Y)es/(N)o/(A)ll [Yes]: skip  \n"
    session = read_aider(tmp_path, text)
    assert told(session) == ["user: How?\n\nTell me.", f"assistant: {reply.strip()}"]
    assert told(read_aider(tmp_path, "\n#### How?\n\nSo.\n")) == ["user: How?", "assistant: So."]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_aider_repeats_as_the_persons_words_is_there_once(tmp_path, end):
    """The question behind `/ask`, and in the architect's mode the plan; `/ask` alone changes the mode."""
    text = (
        "\n#### /ask  \n\n#### /ask why is it  \n#### slow?  \n\n#### why is it  \n#### slow?  \n\nA loop.\n"
        "\n#### Mend it.  \n\nChange a.py:\n\n- no loop\n\n> Tokens: 2k sent, 5 received.  \n"
        "> Edit the files? (Y)es/(N)o [Yes]: y  \n\n#### Change a.py:  \n####   \n#### - no loop  \n\nDone.\n"
        "\n#### Change a.py:  \n\nAgain.\n"
    )
    assert told(read_aider(tmp_path, text.replace("\n", end))) == [
        "user: /ask why is it\nslow?",
        "assistant: A loop.",
        "user: Mend it.",
        "assistant: Change a.py:\n\n- no loop",
        "assistant: Done.",
        "user: Change a.py:",
        "assistant: Again.",
    ]


def test_a_thought_in_a_reply_of_aiders(tmp_path):
    tag = "thinking-content-7bbeb8e1441453ad999a0bbba8a46d4b"
    text = f"\n#### How?  \n\n<{tag}>\n\nThey ask\n#### how\n\n</{tag}>\n\nSo.\n\n"
    notes = "> Model: m/x with diff edit format  \n> Cur working dir: /home/ada/boat  \n"
    session = read_aider(tmp_path, text + notes)
    assert [(record.role, record.content) for record in session.records] == [
        ("user", "How?"),
        ("thought", "They ask\n#### how"),
        ("assistant", "So."),
    ]
    assert (session.info.model, session.info.cwd) == ("m/x", "/home/ada/boat")


# --- ChatGPT and claude.ai ------------------------------------------------------------------------


def test_chatgpts_current_branch_and_the_others(tmp_path):
    (tmp_path / "conversations.json").write_text(json.dumps([CHATGPT]))
    sessions = read_all(tmp_path)
    assert list(sessions) == ["c-1", "c-1/a1"]
    main, other = sessions.values()
    assert told(main) == [
        "user: How long does rye bread bake?",
        "thought: Oven\n\nIt is hot.",
        "tool: python done",
        "assistant: 50 minutes.",
    ]
    [call] = [record for record in main.records if isinstance(record, ToolRecord)]
    assert (call.name, call.input, call.output) == ("python", "print(50)", "50")
    assert told(other) == ["user: How long does rye bread bake?", "assistant: An hour."]
    assert main.marks[0] == other.marks[0]
    assert (main.info.title, main.info.model) == ("Bread", "gpt-5")
    assert main.info.created_at == "2026-02-02T02:40:00.250Z"


def test_claude_ai_with_attachments_tools_and_thoughts(tmp_path):
    (tmp_path / "conversations.json").write_text(json.dumps([CLAUDE_AI], indent=2))
    [session] = read_all(tmp_path).values()
    assert told(session) == [
        "user: Which flour?",
        "thought: Two kinds.",
        "tool: web_search done",
        "assistant: Rye.",
    ]
    [prompt, *_] = session.records
    assert [(one.target, one.content) for one in prompt.references] == [("list.txt", "rye, wheat")]
    [call] = [record for record in session.records if isinstance(record, ToolRecord)]
    assert (call.name, call.title, call.output) == ("web_search", "flour", "rye")


@pytest.mark.parametrize(("name", "value"), [("chatgpt", CHATGPT), ("claude-ai", CLAUDE_AI)])
def test_conversations_are_read_from_the_zip_one_at_a_time(tmp_path, name, value):
    copies = [
        {**value, "conversation_id": f"c-{number}", "uuid": f"c-{number}", "title": f"{number}é"}
        for number in range(40)
    ]
    packed = tmp_path / "export.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/conversations.json", json.dumps(copies, ensure_ascii=False))
        archive.writestr("data/user.json", "{}")
    [named], found = sources(packed, "auto")
    assert named == name
    assert [source.key for source in found] == [f"export.zip 0 {number:06}" for number in range(1, 41)]
    assert [source.read(LIMITS)[0].info.source_id for source in found] == [f"c-{n}" for n in range(40)]
    path = found[0].path
    assert path.exists()
    del found
    assert not path.exists()


def test_a_zip_without_conversations_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("photo.png", "x")
        archive.writestr("../conversations.json", "[]")
    with pytest.raises(Skipped, match=r"no conversations\.json"):
        sources(tmp_path / "a.zip", "auto")
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(Skipped, match="not a zip"):
        sources(tmp_path / "b.zip", "auto")
    os.mkfifo(tmp_path / "c.zip")
    with pytest.raises(Skipped, match="not an ordinary file"):
        sources(tmp_path / "c.zip", "auto")


@settings(max_examples=60)
@given(at=st.integers(0, 400), data=st.binary(min_size=1, max_size=20))
def test_a_damaged_zip_is_read_or_skipped(tmp_path_factory, at, data):
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([CLAUDE_AI]))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    with contextlib.suppress(Skipped):
        for source in sources(path, "auto")[1]:
            with contextlib.suppress(Skipped):
                check(source.read(LIMITS))


def test_a_zip_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("port42_daemon.transfer.readers.chat_exports.FILE_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", " " * 5000)
    with pytest.raises(Skipped, match="more than 1,000 bytes"):
        sources(tmp_path / "a.zip", "auto")


@pytest.mark.parametrize(
    "change",
    [
        {
            "mapping": {"a": {"parent": "a", "message": CHATGPT["mapping"]["u1"]["message"]}},
            "current_node": "a",
        },
        {"mapping": {"a": {"parent": "b"}, "b": {"parent": "a"}}, "current_node": "a"},
        {"mapping": {"a": {"parent": {}, "message": {"content": {"parts": [{}]}}}}},
        {"current_node": {}},
        {"mapping": []},
    ],
)
def test_damaged_conversations_are_read_or_skipped(tmp_path, change):
    (tmp_path / "conversations.json").write_text(json.dumps([{**CHATGPT, **change}]))
    _, found = sources(tmp_path / "conversations.json", "chatgpt")
    for source in found:
        with contextlib.suppress(Skipped):
            assert source.read(LIMITS)


@pytest.mark.parametrize("conversation", [CHATGPT, CLAUDE_AI])
def test_one_conversation_is_a_file_of_its_own(tmp_path, conversation):
    """As tools for browsers keep it."""
    for name, content in (("all", [conversation]), ("one", conversation)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content, indent=1))
    every, alone = (read_all(tmp_path / f"{name}.json").values() for name in ("all", "one"))
    assert [told(session) for session in alone] == [told(session) for session in every]
    assert all(map(told, every))


def test_a_file_without_words_is_a_prompt_in_chatgpt(tmp_path):
    prompt = CHATGPT["mapping"]["u1"]["message"]
    asked = {**prompt, "content": {"parts": [""]}, "metadata": {"attachments": [{"name": "rye.csv"}]}}
    asked = {"conversation_id": "c", "mapping": {"u": {"parent": None, "message": asked}}}
    (tmp_path / "conversations.json").write_text(json.dumps([asked]))
    [session] = read_all(tmp_path / "conversations.json").values()
    assert told(session) == ["user: [rye.csv]"]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            [{"content_type": "audio_transcription", "text": "A?"}, {"content_type": "audio_asset_pointer"}],
            "A?",
        ),
        ([{"content_type": "real_time_user_audio_video_asset_pointer"}], "[audio]"),
        ([{"content_type": "image_asset_pointer"}, ""], "[image]"),
    ],
)
def test_what_was_spoken_to_chatgpt_stands_without_its_sound(tmp_path, parts, text):
    prompt = CHATGPT["mapping"]["u1"]["message"]
    spoken = {**prompt, "content": {"content_type": "multimodal_text", "parts": parts}}
    conversation = {"conversation_id": "c", "mapping": {"u": {"parent": None, "message": spoken}}}
    (tmp_path / "conversations.json").write_text(json.dumps([conversation]))
    [session] = read_all(tmp_path / "conversations.json").values()
    assert told(session) == [f"user: {text}"]
