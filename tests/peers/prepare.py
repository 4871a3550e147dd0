"""``python -m peers.prepare``: install the programs of others that tests use, so that none waits for it.

Without it the first test that needs one installs it. What cannot be had here is left to that test to skip.
"""

from __future__ import annotations

import contextlib

import pytest
from peers import acp_claude, acp_node_sdk, acp_sdk, aimock, tools

PROGRAMS = (
    *(tools.claude, tools.inspector, tools.openrpc_typings, tools.llm, tools.pyln),
    *(acp_claude.claude_agent, acp_node_sdk.editor, acp_sdk.echo_agent, aimock.program),
)
for install in PROGRAMS:
    with contextlib.suppress(pytest.skip.Exception):
        install()
