"""Secrets are found by their looks, wherever they stand, in linear time; what is none stays."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.regex_steps import Matcher

from port42_daemon.store.session_file.document import Header
from port42_daemon.transfer.writers import redaction
from port42_daemon.transfer.writers.redaction import redact, redact_record
from port42_protocol.messages.records import (
    EventRecord,
    Location,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    Reference,
    ThoughtRecord,
    ToolRecord,
    UserMessage,
)

A = "aB3" * 20
TIME = "2026-11-23T09:10:00.000Z"
SECRETS = {
    f"sk-ant-api03-{A}": "anthropic key",
    f"sk-proj-{A}": "api key",
    f"sk-{A[:48]}": "api key",
    f"ghp_{A[:36]}": "github token",
    f"github_pat_{A[:22]}_{A[:50]}": "github token",
    f"glpat-{A[:20]}": "gitlab token",
    "AKIAIOSFODNN7EXAMPLE": "aws key id",
    f"xoxb-123456789012-{A[:24]}": "slack token",
    f"AIza{A[:35]}": "google key",
    f"hf_{A[:34]}": "hugging face token",
    f"npm_{A[:36]}": "npm token",
    f"sk_live_{A[:24]}": "stripe key",
    f"eyJ{A[:20]}.eyJ{A[:40]}.{A[:30]}": "jwt",
    f"-----BEGIN RSA PRIVATE KEY-----\nMIIE{A}\n{A}==\n-----END RSA PRIVATE KEY-----": "private key",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\\n{A}\\n-----END OPENSSH PRIVATE KEY-----": "private key",
}
PARTS = {
    f"Authorization: Bearer {A}": (A, "authorization"),
    'curl -H "Authorization: Basic dXNlcjpwYXNzd29yZA=="': ("dXNlcjpwYXNzd29yZA==", "authorization"),
    "postgres://ada:hunter2secret@db.example/x": ("hunter2secret", "url password"),
    "password=correcthorse": ("correcthorse", "assignment"),
    'api_key: "correct horse battery"': ("correct horse battery", "assignment"),
    "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": (
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "assignment",
    ),
    "{'client_secret': 'abcdef123'}": ("abcdef123", "assignment"),
}
HARMLESS = (
    "password=os.environ['PASSWORD']",
    "token = $TOKEN",
    "The password is asked for at the start.",
    "https://example.org:8080/path?q=1",
    "sk-learn is a library, task-force a word",
    "git commit 3f0a4d1be26c98573f0a4d1be26c98573f0a4d1b",
    "data:image/png;base64,iVBORw0KGgo=",
)


@pytest.mark.parametrize(("secret", "kind"), SECRETS.items())
@pytest.mark.parametrize("around", ["{}", "the key {} is it", 'KEY_{}"', "\n{}\n", "({})"])
def test_a_secret_is_replaced_whole(secret, kind, around):
    found: Counter[str] = Counter()
    text = redact(around.format(secret), found)
    assert A[:16] not in text
    assert f"[redacted: {kind}]" in text
    assert found == {kind: 1}


@pytest.mark.parametrize(("text", "expected"), PARTS.items())
def test_of_an_assignment_the_value_is_replaced(text, expected):
    secret, kind = expected
    found: Counter[str] = Counter()
    assert redact(text, found) == text.replace(secret, f"[redacted: {kind}]")
    assert found == {kind: 1}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text):
    found: Counter[str] = Counter()
    assert redact(text, found) == text
    assert not found


@pytest.mark.parametrize("text", [*SECRETS, *PARTS, *HARMLESS])
def test_a_second_time_changes_nothing(text):
    once = redact(text, Counter())
    found: Counter[str] = Counter()
    assert redact(once, found) == once
    assert not found


PIECES = (
    "a",
    "sk-",
    "sk-ant-",
    "-eyJaaaaaaaa",
    "eyJaaaaaaaaaaa.",
    ".eyJaaaaaaaaaaaa",
    "eyJaaaaaaaaaaa.eyJaaaaaaaaaaaa",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN RSA ",
    "-----BEGIN PRIVATE KEY-----abc",
    "password=",
    "token: ",
    "pwd='x",
    "pwd=\"'",
    "a://b:",
    "aa://" + "x" * 200 + ":" + "y" * 200,
    "bearer ",
    "Authorization: ",
    "secret'  ",
    "gh_ghp_",
    "AKIAAAAAAAAAAAAA",
    "xoxb-",
    "api key ",
)
SHAPES = pytest.mark.parametrize(
    ("kind", "pattern"), redaction._patterns(), ids=[kind for kind, _ in redaction._patterns()]
)
STEPS = 100
"""For each character, whatever the text; a quadratic shape takes the more the longer the text is."""


@SHAPES
def test_hostile_text_takes_a_bounded_number_of_steps_for_each_character(kind, pattern):
    for piece in PIECES:
        text = (piece * 1500)[:1500]
        matcher = Matcher(pattern)
        assert matcher.findall(text) == [match[0] for match in pattern.finditer(text)], (
            "it counts what re does"
        )
        assert matcher.steps <= STEPS * len(text), (kind, piece)


@SHAPES
@settings(max_examples=10)
@given(pieces=st.lists(st.sampled_from([*PIECES, *SECRETS, *PARTS]), min_size=1, max_size=4))
def test_so_do_mixtures_of_hostile_text(kind, pattern, pieces):
    text = ("".join(pieces) * 1000)[:1000]
    matcher = Matcher(pattern)
    matcher.findall(text)
    assert matcher.steps <= STEPS * len(text)


def test_the_step_counter_finds_a_quadratic_pattern():
    """Else the tests above could not fail."""
    matcher = Matcher(r"eyJ[A-Za-z-]{8,}\.eyJ")
    matcher.findall("-eyJaaaaaaaa" * 125)
    assert matcher.steps > STEPS * 1500


class _Recorded:
    """A pattern that says how many characters it was let look at in one call."""

    def __init__(self, pattern, lengths):
        self.pattern, self.lengths = pattern, lengths

    def search(self, text, start, end):
        self.lengths.append(min(end, len(text)) - start)
        return self.pattern.search(text, start, end)

    def match(self, text, start):
        return self.pattern.match(text, start)


def test_a_text_of_one_piece_is_searched_in_windows(monkeypatch):
    """`re` holds the GIL, and with it every other client, for as long as one call takes."""
    lengths = []
    recorded = [(kind, _Recorded(pattern, lengths)) for kind, pattern in redaction._patterns()]
    monkeypatch.setattr(redaction, "_patterns", lambda: recorded)
    redact("-eyJaaaaaaaa" * 100_000, Counter())
    assert max(lengths) <= redaction._WINDOW + redaction._REACH
    assert sum(lengths) <= 1.1 * 1_200_000 * len(recorded)


WORDS = [*SECRETS, *PARTS, *HARMLESS, "some words\n", "eyJaaaaaaaa.", f"{A}{A}"]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), st.integers(1, 200))
def test_windows_change_nothing(text, window):
    whole, in_windows = Counter(), Counter()
    expected = redact(text, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_WINDOW", window)
        assert redact(text, in_windows) == expected
    assert in_windows == whole


def test_every_text_of_a_record_is_redacted():
    key = f"sk-ant-api03-{A}"
    message = UserMessage(
        seq=1,
        content=key,
        references=(Reference("text", key, key),),
        key=key,
        timestamp="2026-11-23T09:10:00.000Z",
    )
    header = Header(
        id="cli-1",
        agent="ai-muse",
        created_at=message.timestamp,
        client="cli",
        title=key,
        metadata={"deep": [{key: key}], "api_key": "abc"},
    )
    found: Counter[str] = Counter()
    assert key not in repr(redact_record(message, found)) + repr(redact_record(header, found))
    assert found == {"anthropic key": 7, "assignment": 1}
    assert redact_record(header, found).metadata["api_key"] == "[redacted: assignment]"


def test_every_text_of_an_activity_is_redacted():
    key = f"sk-ant-api03-{A}"
    fields = {"title": key, "input": f'{{"command":"{key}"}}', "output": key, "locations": (Location(key),)}
    records = [
        ToolRecord(seq=1, timestamp=TIME, id="1", name=key, state="done", **fields),
        ThoughtRecord(seq=2, timestamp=TIME, content=key),
        PlanRecord(seq=3, timestamp=TIME, entries=(PlanEntry(key),)),
        PermissionRecord(seq=4, timestamp=TIME, title=key, options=(key,), chosen=key, by="cli"),
        EventRecord(seq=5, event="compacted", timestamp=TIME, content=key),
    ]
    found: Counter[str] = Counter()
    redacted = [redact_record(record, found) for record in records]
    assert key not in repr(redacted)
    assert found == {"anthropic key": 11}
    assert [type(record) for record in redacted] == [type(record) for record in records]


@pytest.mark.parametrize("kept", [5, 20, 40])
def test_half_a_secret_at_a_cut_is_left_out(kept):
    key = f"sk-ant-api03-{A}"
    mark = "\n[… 70,000 bytes left out …]\n"
    call = ToolRecord(
        seq=1,
        timestamp=TIME,
        id="1",
        title=f"curl -H {key[:kept]}…",
        state="done",
        input=f"a {key[:kept]}{mark}{key[kept:]} b",
        output=f"-----BEGIN RSA PRIVATE KEY-----\n{A}{mark}{A}\n{A}==\n-----END RSA PRIVATE KEY-----\nend",
    )
    redacted = redact_record(call, Counter())
    assert redacted.title == "curl -H …"
    assert redacted.input == f"a {mark} b"
    assert redacted.output == f"[redacted: private key]{mark[1:]}\nend"


def test_metadata_nested_deeper_than_python_recurses_is_redacted_too():
    deep: object = f"sk-ant-api03-{A}"
    for _ in range(700):
        deep = [deep]
    header = Header(id="c", agent="a", created_at="", client="cli", metadata={"deep": deep})
    counts: Counter[str] = Counter()
    assert A not in str(redact_record(header, counts).metadata)
    assert counts == {"anthropic key": 1}
