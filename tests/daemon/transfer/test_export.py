"""`export_session` against a real daemon: in pages, as it stood at the first, in every format."""

from __future__ import annotations

import pytest

SECRET = "sk-ant-api03-" + "aB3" * 20


def exported(daemon, session_id, between=lambda: None, **asked):
    """All pages, and how many there were; `between` is called between them."""
    page = daemon.call("export_session", session_id=session_id, **asked)
    parts, counts = [page["text"]], [page["redactions"]]
    while page["next_cursor"]:
        between()
        page = daemon.call("export_session", session_id=session_id, cursor=page["next_cursor"], **asked)
        parts.append(page["text"])
        counts.append(page["redactions"])
    return "".join(parts), counts


@pytest.fixture
def big(daemon):
    """A session of 1.2 MB."""
    begun = daemon.call("create_session", agent="ai-muse", session_id="big")["session_id"]
    for number in range(6):
        daemon.call(
            "append_message", agent="ai-muse", session_id=begun, role="user", content=str(number) * 200_000
        )
    return begun


def test_json_is_the_file_also_while_the_session_grows(daemon, big):
    file = daemon.home / "sessions" / "big.json"
    before = file.read_text()

    def grow():
        daemon.call("append_message", agent="ai-muse", session_id=big, role="user", content="later")

    text, counts = exported(daemon, big, grow)
    assert text == before
    assert len(counts) > 3
    assert exported(daemon, big)[0] != before


@pytest.mark.parametrize("kind", ["json", "markdown", "html"])
def test_secrets_are_redacted_wherever_they_stand(daemon, kind):
    begun = daemon.call(
        "create_session", agent="ai-muse", metadata={"key": SECRET, "api_key": "abc"}, cwd=f"/home/{SECRET}"
    )["session_id"]
    said = {"agent": "ai-muse", "session_id": begun, "role": "user"}
    daemon.call("append_message", **said, content=f"{SECRET} is my key")
    daemon.call("append_message", **said, content="password=correcthorse")
    text, counts = exported(daemon, begun, format=kind, redact=True)
    assert "aB3aB3" not in text
    assert "correcthorse" not in text
    assert counts[0]["anthropic key"] >= 2
    assert "aB3aB3" in exported(daemon, begun, format=kind)[0]


def test_another_agents_session_is_refused(daemon, big):
    with pytest.raises(pytest.RpcFailed) as refused:
        daemon.call("export_session", session_id=big, agent="ai-engineer")
    assert refused.value.code == 1004


@pytest.mark.parametrize("cursor", ["x", "MSAyOjM6NA", "OTkgLTE6MA"])
def test_an_invalid_cursor(daemon, big, cursor):
    """Also one that is well made and tells of records that were never there."""
    with pytest.raises(pytest.RpcFailed) as refused:
        daemon.call("export_session", session_id=big, cursor=cursor)
    assert (refused.value.code, refused.value.data["field"]) == (-32602, "cursor")
