"""What a daemon captured, awaited as a client sees it."""

from __future__ import annotations

import time

import pytest


def eventually(look, seconds=60.0):
    """The first true value of `look`: capture is asynchronous, and this is how a client sees it."""
    until = time.monotonic() + seconds
    while not (value := look()):
        assert time.monotonic() < until, "it did not come in time"
        time.sleep(0.01)
    return value


def sessions(daemon, agent="claude"):
    return daemon.call("list_sessions", agent=agent)["sessions"]


def last_session(daemon, agent="claude"):
    """The id of the agent's last session, None as long as there is none."""
    try:
        return daemon.call("get_last_session", agent=agent)["session_id"]
    except pytest.RpcFailed:
        return None


def texts(daemon, session_id):
    page = daemon.call("get_session", session_id=session_id, limit=10_000)
    return [message["content"] for message in page["messages"]]


def captured(daemon, *expected, agent="claude"):
    """The session, once it has these messages."""

    def look():
        for session in sessions(daemon, agent):
            if texts(daemon, session["session_id"]) == list(expected):
                return session
        return None

    try:
        return eventually(look)
    except AssertionError as error:
        error.add_note(f"{[texts(daemon, session['session_id']) for session in sessions(daemon, agent)]}")
        error.add_note(f"{daemon.call('get_capture')['tools'][0]}\n{daemon.log()[-3000:]}")
        raise
