"""The user manager that service tests run under, and what keeps a machine from having one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from units import user_manager as managers


@pytest.fixture
def user_manager() -> Iterator[managers.UserManager]:
    """A real `systemd --user`, fresh for each test (half a second); skips where there can be none."""
    with contextlib.ExitStack() as stack:
        try:
            manager = stack.enter_context(managers.running())
        except managers.CannotRun as why:
            pytest.skip(str(why))
        yield manager
