"""`stats` and `disk_usage` as a client meets them."""

from __future__ import annotations

import pytest


def test_what_was_said_is_counted_at_once(daemon):
    session_id = daemon.call("create_session", agent="ai-muse")["session_id"]
    for role in ("user", "assistant", "user"):
        daemon.call("append_message", agent="ai-muse", session_id=session_id, role=role, content="x")
    found = daemon.call("stats", agent="@ai-muse", days=7)
    assert (found["agents"][0]["user_messages"], found["agents"][0]["assistant_messages"]) == (2, 1)
    assert sum(found["days"]) == sum(found["hours"]) == 3
    assert len(found["days"]) == 7
    assert daemon.call("stats")["agents"] == [found["agents"][0] | {"days": [3]}]


def test_bytes_are_those_on_the_disk(daemon):
    session_id = daemon.call("create_session", agent="ai-muse")["session_id"]
    found = daemon.call("disk_usage")
    size = (daemon.home / "sessions" / f"{session_id}.json").stat().st_size
    assert found["agents"][0]["session_bytes"] == size
    assert found["total_bytes"] > size + found["index_bytes"] > size
    assert daemon.call("disk_usage", agent="ai-muse")["total_bytes"] == size


@pytest.mark.parametrize("method", ["stats", "disk_usage"])
def test_an_agent_that_nobody_knows(daemon, method):
    with pytest.raises(pytest.RpcFailed) as refused:
        daemon.call(method, agent="ai-enginer")
    assert refused.value.code == 1006
    assert refused.value.data["suggestions"][0] == "ai-engineer"
