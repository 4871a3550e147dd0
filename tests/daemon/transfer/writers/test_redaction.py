"""Secrets are found by their looks, wherever they stand, in linear time; what is none stays."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from port42_daemon.store.session_file.document import Header
from port42_daemon.transfer.writers.redaction import redact, redact_record
from port42_protocol.messages.records import Message, Reference

A = "aB3" * 20
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


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "sk-",
        "sk-ant-",
        "eyJaaaaaaaa.",
        "eyJ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN RSA ",
        "password",
        "password=",
        "token: ",
        "a://",
        "a://b:",
        "http://x:y",
        "bearer ",
        "Authorization: ",
        "secret'  ",
        "-",
        "_",
        "ghp_",
        "xoxb-",
        "api key ",
        "a.b+c-",
    ],
)
def test_what_is_made_to_take_long_does_not(piece):
    text = piece * (100_000 // len(piece))
    began = time.process_time()
    redact(text, Counter())
    assert time.process_time() - began < 2, "seconds for 100 kB"


def test_every_text_of_a_record_is_redacted():
    key = f"sk-ant-api03-{A}"
    message = Message(
        seq=1,
        role="user",
        content=key,
        references=(Reference("text", key, key),),
        title=key,
        tags=(key,),
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
    assert found == {"anthropic key": 8, "assignment": 1}
    assert redact_record(header, found).metadata["api_key"] == "[redacted: assignment]"
