"""Requests as text, a result, and what a refusal looks like."""

from __future__ import annotations

import json

LINE = 4 * 1024 * 1024
MIB = 1024 * 1024

SUMMARY = {
    "session_id": "cli-1",
    "agent": "ai-engineer",
    "title": None,
    "state": "active",
    "created_at": "2026-11-23T03:37:11.042Z",
    "last_activity": "2026-11-23T03:37:11.042Z",
    "message_count": 1,
    "cwd": "/srv",
}
"""A `Summary` as the daemon sends it."""


def request(method, params=None, identity=1, **more):
    return json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params or {}} | more)


def create(session_id, identity=1):
    return request("create_session", {"agent": "ai-engineer", "session_id": session_id}, identity)


def append(session_id, content, identity=1):
    params = {"agent": "ai-engineer", "session_id": session_id, "role": "user", "content": content}
    return request("append_message", params, identity)


def assert_refused(response, code, kind, identity=None, *, retryable=False):
    assert set(response) == {"jsonrpc", "error", "id"}
    assert response["id"] == identity
    assert response["error"]["code"] == code
    assert response["error"]["data"]["kind"] == kind
    assert response["error"]["data"]["retryable"] is retryable
    assert len(json.dumps(response)) < 2000  # what was refused is not sent back
