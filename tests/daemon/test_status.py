"""What the daemon says of itself."""

from __future__ import annotations

import asyncio
import os

from port42_daemon.settings import Settings
from port42_daemon.status import Introspection, Traffic
from port42_protocol import PROTOCOL_VERSION, openrpc
from port42_protocol import messages as m
from port42_protocol.version import __version__


def test_it_says_what_is(rules, tmp_path):
    traffic, settings = Traffic(), Settings(home=rules.home, socket=tmp_path / "s", connections=7)
    introspection = Introspection(settings, rules.store, rules.threads, rules.config, traffic, rules.turns)
    for number in range(3):
        rules.ask(rules.sessions.create_session, m.CreateSession(f"agent-{number}"))
    traffic.connections, traffic.requests = 5, 2
    said = rules.ask(introspection.status, m.Status())
    assert (said.version, said.protocol_version, said.pid) == (__version__, PROTOCOL_VERSION, os.getpid())
    assert (said.home, said.socket) == (str(rules.home), str(tmp_path / "s"))
    assert (said.sessions, said.connections, said.requests) == (3, 5, 2)
    assert said.limits == settings.limits
    assert 0 <= said.uptime_seconds < 600
    assert said.config_error is None
    assert asyncio.run(introspection.status(m.Status())).uptime_seconds >= said.uptime_seconds
    assert introspection.discover(m.Discover()) == openrpc.document()
