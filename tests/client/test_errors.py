"""Every way a command ends has its exit code, and the daemon's error keeps what it said."""

from __future__ import annotations

import pytest

from port42_client.errors import BadInput, CommandError, DaemonError, NoDaemon, Refused


@pytest.mark.parametrize(("kind", "code"), [(BadInput, 2), (Refused, 1), (NoDaemon, 69)])
def test_an_error_knows_its_exit_code(kind, code):
    error = kind("why")
    assert isinstance(error, CommandError)
    assert (error.exit_code, error.message, str(error)) == (code, "why", "why")


def test_the_daemons_error_is_a_refusal_with_details():
    error = DaemonError(1004, "no", {"kind": "wrong_agent"})
    assert isinstance(error, Refused)
    assert (error.exit_code, error.code, error.kind) == (1, 1004, "wrong_agent")
    assert (DaemonError(1, "no").kind, DaemonError(1, "no").data) == ("error", {})
