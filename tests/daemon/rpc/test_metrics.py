"""What passed the socket, counted."""

from __future__ import annotations

from port42_daemon.rpc.metrics import Traffic
from port42_protocol.errors import BackendFailed, InternalError, NoSessions
from port42_protocol.messages.daemon import ErrorCount, MethodLatency


def test_methods_come_in_the_tables_order_with_their_errors():
    traffic = Traffic()
    for took in (1_000, 2_000, 3_000):
        traffic.answered("status", took, None)
    traffic.answered("get_last_session", 4_000, NoSessions("ai-muse"))
    traffic.answered(None, 5_000, NoSessions("ai-muse"))
    last, status = traffic.latencies()
    assert last == MethodLatency("get_last_session", 1, 1, 4, 4, 4, 4)
    assert (status.method, status.count, status.errors, status.max_us) == ("status", 3, 0, 3)
    assert traffic.errors() == (ErrorCount(1001, "no_sessions", 2),)


def test_an_error_is_counted_by_code_and_kind():
    traffic = Traffic()
    for kind in ("network", "needs_auth", "network"):
        traffic.refused(BackendFailed(kind, "no", "cli-1", seq=1))
    assert traffic.errors() == (ErrorCount(1007, "network", 2), ErrorCount(1007, "needs_auth", 1))


def test_the_last_few_internal_errors_are_kept():
    traffic = Traffic()
    for number in range(9):
        traffic.failed("status", InternalError(f"id-{number}"))
    assert [one.error_id for one in traffic.failures()] == [f"id-{number}" for number in range(4, 9)]
    assert {one.method for one in traffic.failures()} == {"status"}
