"""What an editor is shown of a session, whatever of it came in pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_acp.updates import Updates
from port42_protocol.messages.records import (
    AssistantMessage,
    ErrorMessage,
    EventRecord,
    Location,
    PermissionRecord,
    Reference,
    ThoughtRecord,
    ToolRecord,
    UserMessage,
)

AT = "2026-11-23T03:37:11.042Z"
BASE = {"session_id": "s", "agent": "a"}


def text(piece):
    return {"kind": "text", "text": piece, **BASE}


def tool(tool_id, state="running", **more):
    return {"kind": "tool", "tool_id": tool_id, "state": state, "text": "Read it", **BASE, **more}


def reply(content):
    return AssistantMessage(seq=2, content=content, timestamp=AT, question=1)


def call(**more):
    return ToolRecord(**{"seq": 3, "timestamp": AT, "id": "t", "title": "Read it", "state": "done"} | more)


def shown(updates, kind="agent_message_chunk"):
    return "".join(u["content"]["text"] for u in updates if u["sessionUpdate"] == kind)


pieces = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6)


@given(pieces)
def test_a_text_in_pieces_is_shown_once(pieces):
    updates = Updates()
    got = [update for piece in pieces for update in updates.event(text(piece))]
    got += updates.record(reply("".join(pieces)))
    assert shown(got) == "".join(pieces)
    assert len({update["messageId"] for update in got}) == 1
    assert shown(updates.record(reply("whole"))) == "whole"


@given(pieces, st.integers(0, 6))
def test_a_text_that_begins_again_on_another_connection_is_shown_once(pieces, cut):
    """What is not recorded comes in one piece when a subscription begins."""
    updates = Updates()
    before, after = pieces[:cut], pieces[cut:]
    got = [update for piece in before for update in updates.event(text(piece))]
    updates.rejoin()
    if before:
        got += updates.event(text("".join(before + after[:1])))
    got += [update for piece in (after[1:] if before else after) for update in updates.event(text(piece))]
    got += updates.record(reply("".join(pieces)))
    assert shown(got) == "".join(pieces)


@given(pieces, st.integers(0, 6))
def test_the_rest_of_a_text_comes_with_its_record_where_pieces_were_lost(pieces, cut):
    updates = Updates()
    got = [update for piece in pieces[:cut] for update in updates.event(text(piece))]
    updates.skip_pieces()
    got += [update for piece in pieces[cut + 1 :] for update in updates.event(text(piece))]
    got += updates.record(reply("".join(pieces)))
    assert shown(got) == "".join(pieces)
    assert shown(updates.event(text("next"))) == "next"


def test_a_reply_of_which_less_was_kept_than_shown_adds_nothing():
    updates = Updates()
    updates.event(text("one two"))
    assert updates.record(reply("one")) == []


def test_a_thought_is_shown_in_pieces_or_whole():
    updates = Updates()
    thought = ThoughtRecord(seq=2, timestamp=AT, content="hm")
    live = updates.event({"kind": "thought", "text": "hm", **BASE})
    assert shown(live, "agent_thought_chunk") == "hm"
    assert updates.record(thought) == []
    whole = updates.record(thought)
    assert shown(whole, "agent_thought_chunk") == "hm"
    assert whole[0]["messageId"] != live[0]["messageId"]


def test_a_call_begins_changes_and_ends_under_one_id():
    updates = Updates()
    first = updates.event(tool("t", tool_kind="read"))
    again = updates.event(tool("t"))
    ended = updates.event(tool("t", "done"))
    record = updates.record(call(output="text", input='{"a":1}', locations=(Location("/a", 7),)))
    late = updates.event(tool("t", "failed"))
    kinds = [update["sessionUpdate"] for update in first + again + ended + record + late]
    assert kinds == ["tool_call", *["tool_call_update"] * 4]
    assert first[0]["kind"] == "read"
    assert record[0]["rawInput"] == {"a": 1}
    assert record[0]["locations"] == [{"path": "/a", "line": 7}]
    assert record[0]["content"] == [{"type": "content", "content": {"type": "text", "text": "text"}}]


def test_an_id_that_is_used_again_is_another_call():
    updates = Updates()
    first, second = updates.record(call()), updates.record(call())
    updates.record(UserMessage(seq=4, content="more", timestamp=AT))
    third = updates.event(tool("t"))
    assert [update[0]["toolCallId"] for update in (first, second, third)] == ["t", "t#2", "t#3"]
    assert updates.record(call())[0]["toolCallId"] == "t#3"


def test_an_edit_is_shown_as_a_difference():
    edit = call(
        kind="edit",
        input='{"file_path":"/a.py","old_string":"x","new_string":"y"}',
        locations=(Location("/a.py"),),
    )
    (update,) = Updates().record(edit)
    assert update["content"] == [{"type": "diff", "path": "/a.py", "oldText": "x", "newText": "y"}]
    assert update["locations"] == [{"path": "/a.py"}]


def test_arguments_that_were_shortened_are_text_and_an_interrupted_call_failed():
    (update,) = Updates().record(call(input='{"a": "… 9 bytes left out …', state="interrupted"))
    assert update["rawInput"].startswith('{"a"')
    assert update["status"] == "failed"
    assert update["content"][0]["content"]["text"] == "interrupted"


def test_a_question_is_shown_with_what_was_attached():
    references = (
        Reference("file", "/a b.txt", "text"),
        Reference("session", "cli-1"),
        Reference("url", "https://example.org/x"),
        Reference("text", "stdin", "piped"),
    )
    message = UserMessage(seq=1, content="look", timestamp=AT, references=references)
    blocks = [update["content"] for update in Updates().record(message)]
    assert blocks[0] == {"type": "text", "text": "look"}
    assert [block.get("uri") for block in blocks[1:4]] == [
        *("file:///a%20b.txt", "port42:cli-1", "https://example.org/x"),
    ]
    assert blocks[4]["resource"] == {"uri": "stdin", "text": "piped"}


def test_what_an_editor_has_no_form_for_is_a_thought_or_nothing():
    updates = Updates()
    failed = updates.record(ErrorMessage(seq=1, content="no network", timestamp=AT))
    notice = updates.event({"kind": "notice", "text": "2 messages do not fit", **BASE})
    assert shown(failed + notice, "agent_thought_chunk") == (
        "Port42: The turn failed: no network\nPort42: 2 messages do not fit\n"
    )
    assert updates.record(EventRecord(seq=1, event="pinned", timestamp=AT, pinned=True)) == []
    assert updates.record(PermissionRecord(seq=1, timestamp=AT, title="x", by="acp")) == []
    renamed = updates.record(EventRecord(seq=1, event="renamed", timestamp=AT, title="new"))
    assert renamed == [{"sessionUpdate": "session_info_update", "title": "new"}]
    assert updates.event({"kind": "of a newer daemon", **BASE}) == []


def test_a_permission_request_names_its_call_and_kinds_that_the_protocol_has():
    updates = Updates()
    updates.event(tool("t"))
    options = [{"id": "1", "name": "Yes", "kind": "allow_maybe"}, {"id": "2", "name": "No", "kind": ""}]
    event = {"kind": "permission", "permission_id": "p", "text": "Edit", "options": options, **BASE}
    known = updates.permission({**event, "tool_id": "t", "tool_kind": "edit"})
    assert known["toolCall"] == {"toolCallId": "t", "title": "Edit", "status": "pending", "kind": "edit"}
    assert [option["kind"] for option in known["options"]] == ["allow_once", "reject_once"]
    assert updates.permission(event)["toolCall"]["toolCallId"] == "permission-p"


@pytest.mark.parametrize(
    ("arguments", "before", "after"),
    [
        ({"old_string": "a", "new_string": "b"}, "a", "b"),
        ({"file_text": "b"}, None, "b"),
        ({"content": ""}, None, ""),
    ],
)
def test_an_edit_is_shown_as_a_difference_when_it_is_asked_for_and_when_it_is_done(arguments, before, after):
    event = {
        "kind": "permission",
        "permission_id": "p",
        "text": "Edit",
        "options": [],
        "tool_kind": "edit",
        **BASE,
    }
    given = {"input": json.dumps(arguments), "locations": [{"path": "/a"}]}
    asked = Updates().permission(event | given)["toolCall"]
    (done,) = Updates().record(call(kind="edit", input=given["input"], locations=(Location("/a"),)))
    for shown in (asked, done):
        assert shown["content"] == [{"type": "diff", "path": "/a", "oldText": before, "newText": after}]
        assert shown["rawInput"] == arguments
        assert shown["locations"] == given["locations"]
