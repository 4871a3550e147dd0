"""ACP agents that fail, and probes."""

import os
from pathlib import Path

import pytest
from peers.acp_turns import KEY, NAME, play, played, runs
from peers.backends_acp import Journal, config
from peers.turns import done_of, events_of, failure_of, text_of, turn

from port42_daemon.backends import process
from port42_daemon.backends.acp.pool import Acp
from port42_daemon.backends.base import (
    Event,
)
from port42_daemon.config import AcpBackend


def test_a_missing_program() -> None:
    (events,) = played(AcpBackend(command=["port42-no-such-agent"]))
    kind, message = failure_of(events)
    assert kind == "missing"
    assert message.startswith("port42-no-such-agent is not on the daemon's PATH; ")


def test_a_missing_folder(tmp_path: Path) -> None:
    (events,) = played(config("echo"), turn(cwd=str(tmp_path / "nowhere")))
    kind, message = failure_of(events)
    assert kind == "missing"
    assert "nowhere" in message


def test_a_crash_tells_the_last_words_without_secrets(journal: Journal) -> None:
    backend = Acp(config("crash", journal, env_pass=["TEST_KEY"]), {**os.environ, "TEST_KEY": KEY})
    (events,) = played(backend)
    assert text_of(events) == "half a "
    assert failure_of(events) == ("crashed", f"{NAME} ended with status 3: fatal: no more, …")
    assert KEY not in repr(events)


def test_a_variable_that_is_not_passed_on_is_not_there() -> None:
    (events,) = played(Acp(config("crash"), {**os.environ, "TEST_KEY": KEY}))
    assert failure_of(events)[1].endswith("no more, None")


@pytest.mark.parametrize("when", ["initialize", "prompt"])
def test_silence(journal: Journal, when: str) -> None:
    (events,) = played(config("mute", journal, when, timeout=0.3))
    assert failure_of(events) == ("timeout", f"{NAME} said nothing for 0.3 s")
    assert not runs(journal.pids[0])


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        (
            "login",
            "needs_auth",
            "is not signed in: Authentication required (it offers: Log in with a browser, API key)",
        ),
        ("version", "refused", "does not speak version 1 of the Agent Client Protocol"),
        ("prompt", "refused", "refused: Internal error: no such model"),
        ("rate", "rate_limit", "refused: Internal error: later"),
        ("refusal", "refused", "refused to answer this"),
        ("nameless", "refused", "gave its session no name"),
    ],
)
def test_what_an_agent_refuses(journal: Journal, what: str, kind: str, message: str) -> None:
    (events,) = played(config("refuses", journal, what))
    assert failure_of(events) == (kind, f"The Unwilling {message}")
    assert not runs(journal.pids[0])


@pytest.mark.parametrize(("program", "kind"), [("cat", "refused"), ("true", "crashed"), ("false", "crashed")])
def test_a_program_that_is_no_agent(program: str, kind: str) -> None:
    (events,) = played(AcpBackend(command=[program]))
    assert failure_of(events)[0] == kind


@pytest.mark.parametrize("how", ["error", "silent"])
@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Not logged in · Please run /login", "needs_auth"),
        ("API Error: 529 Overloaded", "rate_limit"),
        ("fetch failed: ECONNRESET", "network"),
    ],
)
def test_an_agents_words_have_their_kind(journal: Journal, how: str, words: str, kind: str) -> None:
    (events,) = played(config("refuses", journal, how, words))
    failure_kind, message = failure_of(events)
    assert (failure_kind, words in message) == (kind, True)


@pytest.mark.parametrize(
    "words",
    [
        "Not logged in · Please run /login",
        "Invalid API key · Please run /login",
        "Please run /login · API Error: 401",
    ],
)
def test_a_reply_that_only_asks_for_a_login_is_a_failure(words: str) -> None:
    async def reply_and_health(backend: Acp) -> tuple[list[Event], str]:
        return await events_of(backend, turn()), (await backend.probe()).state

    events, health = play(Acp(config("refuses", "/dev/null", "text", words)), reply_and_health)
    assert text_of(events) == ""
    assert failure_of(events) == ("needs_auth", f"The Unwilling gave no answer: {words}")
    assert health == "needs_auth"


@pytest.mark.parametrize(
    "words", ["Run /login, and then /status.", "Not logged in · Please run /login\nis what it says."]
)
def test_a_reply_about_a_login_is_a_reply(words: str) -> None:
    (events,) = played(config("refuses", "/dev/null", "text", words))
    assert (text_of(events), done_of(events).failure) == (words, None)


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("Not logged in · Please run /login", "needs_auth", "Not logged in"),
        ('{"id": 1, "error": "529 Overloaded"}', "rate_limit", "529 Overloaded"),
        ('{"id": 1, "error": {"message": "no quota left"}}', "rate_limit", "no quota left"),
        ('{"id": 1, "error": {"code": "x", "message": "half \\ud83e"}}', "refused", "half"),
        ('{"id": 1, "error": 7}', "refused", "an error without words"),
    ],
)
def test_words_outside_the_protocol_reach_the_person(line: str, kind: str, words: str) -> None:
    (events,) = played(AcpBackend(command=["sh", "-c", 'head -n 1 >/dev/null; echo "$1"', "sh", line]))
    failure_kind, message = failure_of(events)
    assert (failure_kind, words in message) == (kind, True)


def test_a_line_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LINE_LIMIT", 100_000)
    whole, cut = played(config("longline"), turn("90000"), turn("110000"))
    assert len(text_of(whole)) == 90_000
    assert failure_of(cut)[0] == "crashed"
    assert "sent a line of more than" in failure_of(cut)[1]


def test_probing() -> None:
    async def probe(backend: Acp) -> tuple[str, str]:
        health = await backend.probe()
        return health.state, health.detail

    assert play(Acp(config("echo")), probe)[0] == "ready"
    missing = play(Acp(AcpBackend(command=["port42-no-such-agent"])), probe)
    assert missing[0] == "missing"
    assert missing[1].startswith("port42-no-such-agent is not on the daemon's PATH; ")


def test_probing_remembers_a_failed_login() -> None:
    async def probe(backend: Acp) -> str:
        await events_of(backend, turn())
        return (await backend.probe()).state

    assert play(Acp(config("refuses", "/dev/null", "login")), probe) == "needs_auth"
    assert play(Acp(config("refuses", "/dev/null", "prompt")), probe) == "ready"
