"""What is in the trash, however many pages it has."""

from __future__ import annotations

from typing import Any

from port42_client.client import Client


def everything(client: Client, agent: str | None = None) -> list[dict[str, Any]]:
    """Every session in the trash, or an agent's, the latest first."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.ask("list_trash", {"agent": agent, "limit": 500, "cursor": cursor})
        found += page["sessions"]
        if not (cursor := page["next_cursor"]):
            return found
