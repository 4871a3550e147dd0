"""Homes that meet at a hub: what comes of sessions that were continued here and there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from peers.hub_homes import AGENT, HubHome, init, quiet

from port42_protocol.messages.forks_and_trash import DeleteSession, PruneSessions, RestoreSession
from port42_protocol.messages.search import RenameSession, TagSession

_WITHIN = 60.0


@pytest.fixture
def meet(tmp_path: Path, hub_url: str) -> Callable[[Callable[..., Awaitable[Any]]], Any]:
    """Runs a coroutine function with two homes, both at the hub."""
    init(hub_url)

    def run(work: Callable[[HubHome, HubHome], Awaitable[Any]]) -> Any:
        async def both() -> Any:
            async with (
                asyncio.timeout(_WITHIN),
                HubHome(tmp_path / "laptop", hub_url, "laptop") as laptop,
                HubHome(tmp_path / "server", hub_url, "server") as server,
            ):
                await laptop.connect()
                await server.connect()
                return await work(laptop, server)

        return asyncio.run(both())

    return run


def test_a_session_begun_here_is_continued_there_and_here_again(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await laptop.say("cli-1", "build a parser")
        await quiet(laptop, server)
        assert server.texts("cli-1") == ["build a parser"]
        assert server.store.last_sessions == {AGENT: "cli-1"}
        await server.say("cli-1", "and a lexer")
        await quiet(laptop, server)
        assert laptop.texts("cli-1") == ["build a parser", "and a lexer"]
        assert laptop.stored("cli-1").lines == server.stored("cli-1").lines

    meet(work)


def test_what_was_said_at_two_places_at_once_becomes_a_fork_where_it_came_second(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await laptop.say("cli-1", "one")
        await quiet(laptop, server)
        await laptop.say("cli-1", "two of the laptop")
        await server.say("cli-1", "two of the server")
        await server.say("cli-1", "three of the server")
        await laptop.step()
        await quiet(laptop, server)
        for home in (laptop, server):
            assert home.texts("cli-1") == ["one", "two of the laptop"]
            (fork,) = home.all().keys() - {"cli-1"}
            assert home.texts(fork) == ["one", "two of the server", "three of the server"]
            summary = home.store.summary(fork)
            assert summary.title == "one (server)"
            assert (summary.forked_from.session_id, summary.forked_from.seq) == ("cli-1", 1)
            assert home.store.last_sessions == {AGENT: fork}

    meet(work)


def test_titles_and_tags_given_at_two_places_make_no_fork(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await laptop.say("cli-1", "one")
        await quiet(laptop, server)
        await laptop.say("cli-1", "two")
        await server.sessions.rename_session(RenameSession("cli-1", "Parser"))
        await server.sessions.tag_session(TagSession("cli-1", add=("work",)))
        await laptop.step()
        await quiet(laptop, server)
        for home in (laptop, server):
            assert home.all().keys() == {"cli-1"}
            summary = home.store.summary("cli-1")
            assert (summary.title, summary.tags, summary.message_count) == ("Parser", ("work",), 2)

    meet(work)


def test_trash_and_restore_travel_and_what_is_deleted_for_good_stays_in_others_trash(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await laptop.say("cli-0", "before")
        await laptop.say("cli-1", "one")
        await quiet(laptop, server)
        await laptop.trash.delete_session(DeleteSession("cli-1"))
        await quiet(laptop, server)
        assert server.store.where("cli-1") == "trash"
        assert server.store.last_sessions == {AGENT: "cli-0"}
        await server.trash.restore_session(RestoreSession("cli-1"))
        await quiet(laptop, server)
        assert laptop.store.where("cli-1") == "sessions"
        assert laptop.texts("cli-1") == ["one"]
        await laptop.trash.delete_session(DeleteSession("cli-1"))
        await quiet(laptop, server)
        await laptop.trash.prune_sessions(PruneSessions(trash_older_than_days=0, dry_run=False))
        await quiet(laptop, server)
        assert laptop.store.where("cli-1") is None
        assert server.store.where("cli-1") == "trash"
        await server.connect()  # nor does it come back
        await quiet(laptop, server)
        assert laptop.store.where("cli-1") is None

    meet(work)


def test_a_session_that_is_private_stays_here(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await laptop.say("cli-1", "one")
        await laptop.sessions.tag_session(TagSession("cli-1", add=("private",)))
        await laptop.say("cli-2", "two")
        await quiet(laptop, server)
        assert server.all().keys() == {"cli-2"}
        await laptop.sessions.tag_session(TagSession("cli-1", remove=("private",)))
        await quiet(laptop, server)
        assert server.all().keys() == {"cli-1", "cli-2"}

    meet(work)


def test_without_its_notes_a_home_compares_everything_and_changes_nothing(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        for number in range(40):
            await laptop.say(f"cli-{number}", f"message {number}")
        await quiet(laptop, server)
        before = server.all()
        server.disconnect()
        (server.folder / "hub.db").unlink()
        await server.say("cli-7", "more")
        await server.connect()
        await quiet(laptop, server)
        assert server.all().keys() == before.keys()
        assert laptop.texts("cli-7") == ["message 7", "more"]

    meet(work)
