"""`stats` and `disk_usage` of a real daemon."""

from __future__ import annotations

import pytest


def test_messages_are_counted_at_once(daemon):
    session_id = daemon.call("create_session", agent="ai-muse")["session_id"]
    for role in ("user", "assistant", "user"):
        daemon.call("append_message", agent="ai-muse", session_id=session_id, role=role, content="x")
    statistics = daemon.call("stats", agent="@ai-muse", days=7)
    assert (statistics["agents"][0]["user_messages"], statistics["agents"][0]["assistant_messages"]) == (2, 1)
    assert sum(statistics["days"]) == sum(statistics["hours"]) == 3
    assert len(statistics["days"]) == 7
    assert daemon.call("stats")["agents"] == [statistics["agents"][0] | {"days": [3]}]


def test_bytes_are_those_on_the_disk(daemon):
    session_id = daemon.call("create_session", agent="ai-muse")["session_id"]
    usage = daemon.call("disk_usage")
    size = (daemon.home / "sessions" / f"{session_id}.json").stat().st_size
    assert usage["agents"][0]["session_bytes"] == size
    assert usage["total_bytes"] > size + usage["index_bytes"] > size
    assert daemon.call("disk_usage", agent="ai-muse")["total_bytes"] == size


@pytest.mark.parametrize("method", ["stats", "disk_usage"])
def test_an_unknown_agent(daemon, method):
    with pytest.raises(pytest.RpcFailed) as refused:
        daemon.call(method, agent="ai-enginer")
    assert refused.value.code == 1006
    assert refused.value.data["suggestions"][0] == "ai-engineer"
