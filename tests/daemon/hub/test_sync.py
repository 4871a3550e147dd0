"""Homes that meet at a hub: what comes of sessions that were continued here and there."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from typing import Any

import psycopg
import pytest
from msgspec import UNSET, structs
from peers.hub_homes import AGENT, HubHome, at_hub, begin, init, quiet
from peers.stores import event, said

from port42_daemon.hub.connection import explained
from port42_daemon.store.interface import RESUMED
from port42_protocol.messages.forks_and_trash import DeleteSession, PruneSessions, RestoreSession
from port42_protocol.messages.records import AssistantMessage, replace
from port42_protocol.messages.search import RenameSession, TagSession
from port42_protocol.messages.sessions import AppendMessage
from port42_protocol.times import now


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


def test_a_repeated_request_finds_its_message_in_the_fork_into_which_it_went(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await begin(laptop, server)
        await laptop.say("cli-1", "two of the laptop")
        request = AppendMessage(AGENT, "cli-1", "user", "two of the server", idempotency_key="k")
        before = await server.sessions.append_message(request)
        await laptop.step()
        await quiet(laptop, server)
        (fork,) = server.all().keys() - {"cli-1"}
        for home in (server, laptop):
            again = await home.sessions.append_message(request)
            assert (again.session_id, again.seq) == (fork, before.seq)
        assert laptop.texts("cli-1") == ["one", "two of the laptop"]

    meet(work)


def test_what_was_said_at_two_places_at_once_becomes_a_fork_where_it_came_second(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await begin(laptop, server)
        await laptop.say("cli-1", "two of the laptop")
        await server.say("cli-1", "two of the server")
        await server.say("cli-1", "three of the server")
        # A minute later: the clocks' distance is known to some milliseconds only.
        with server.store.writing("cli-1") as session:
            later = (time.time_ns() // 1_000_000) + 60_000
            session.append([event(RESUMED)], use=False, used_at=later)
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
        await begin(laptop, server)
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


def test_what_was_said_here_stands_behind_a_title_that_was_given_elsewhere_meanwhile(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await begin(laptop, server)
        reply = AssistantMessage(seq=0, content="a reply", timestamp=now(), question=2, status="complete")
        await laptop.say("cli-1", "two")
        await laptop.sessions.add_later("cli-1", [reply])
        await server.sessions.rename_session(RenameSession("cli-1", "Parser"))
        await server.step()
        await quiet(laptop, server)
        for home in (laptop, server):
            assert home.all().keys() == {"cli-1"}
            assert home.texts("cli-1") == ["one", "two", "a reply"]
            assert home.store.summary("cli-1").title == "Parser"
            renamed, asked, answered = home.stored_records("cli-1")[1:]
            assert (renamed.seq, asked.seq, answered.seq, answered.question) == (2, 3, 4, 3)

    meet(work)


def test_what_was_said_here_in_a_session_that_went_to_the_trash_elsewhere_is_a_fork(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await begin(laptop, server)
        await laptop.say("cli-1", "two")
        await server.trash.delete_session(DeleteSession("cli-1"))
        await server.step()
        await quiet(laptop, server)
        for home in (laptop, server):
            (fork,) = home.all().keys() - {"cli-1"}
            assert (home.store.where("cli-1"), home.store.where(fork)) == ("trash", "sessions")
            assert home.texts(fork) == ["one", "two"]

    meet(work)


def test_trash_and_restore_travel_and_what_is_deleted_for_good_stays_in_others_trash(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await laptop.say("cli-0", "before")
        await begin(laptop, server)
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


def rewritten(home: HubHome, session_id: str, *texts: str) -> None:
    """Replace the session's messages, as `import --again` does."""
    records = [replace(said(text), seq=seq) for seq, text in enumerate(texts, 1)]
    header = structs.replace(home.store.ends(session_id)[0], generation=UNSET)
    home.store.rewrite(header, records, "backup")


def test_a_session_whose_records_were_replaced_is_replaced_everywhere(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await laptop.say("cli-1", "one")
        await laptop.say("cli-1", "two")
        await quiet(laptop, server)
        rewritten(laptop, "cli-1", "one anew")
        await quiet(laptop, server)
        assert server.texts("cli-1") == ["one anew"]
        rewritten(server, "cli-1", "of the server")
        await laptop.say("cli-1", "meanwhile")
        await server.step()
        await quiet(laptop, server)
        for home in (laptop, server):
            assert home.texts("cli-1") == ["of the server"]
            (fork,) = home.all().keys() - {"cli-1"}
            assert home.texts(fork) == ["one anew", "meanwhile"]

    meet(work)


def test_what_a_damaged_file_has_lost_comes_back(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        for text in ("one", "two", "three"):
            await laptop.say("cli-1", text)
        await quiet(laptop, server)
        path = server.folder / "sessions" / "cli-1.json"
        for lost in (1, 2):
            server.close()
            lines = path.read_bytes().split(b"\n")
            path.write_bytes(b"\n".join(lines[: 4 - lost]) + b"\n")
            server.open()
            if lost == 2:  # and it is gone on with, so that other records have these seqs
                await server.say("cli-1", "after the damage")
            await server.connect()
            await quiet(laptop, server)
            assert server.texts("cli-1") == ["one", "two", "three"]
        (fork,) = laptop.all().keys() - {"cli-1"}
        assert laptop.texts(fork) == ["one", "after the damage"]

    meet(work)


def test_a_fork_that_was_made_before_a_kill_is_made_once_and_gets_what_was_recorded_since(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await begin(laptop, server)
        await laptop.say("cli-1", "two of the laptop")
        await laptop.step()
        await server.say("cli-1", "two of the server")
        splice = server.store.splice
        server.store.splice = killed  # type: ignore[method-assign]
        with pytest.raises(Killed):
            await server.step()
        server.store.splice = splice  # type: ignore[method-assign]
        await server.say("cli-1", "three of the server")
        await server.connect()
        await quiet(laptop, server)
        for home in (laptop, server):
            assert home.texts("cli-1") == ["one", "two of the laptop"]
            (fork,) = home.all().keys() - {"cli-1"}
            assert home.texts(fork) == ["one", "two of the server", "three of the server"]

    meet(work)


class Killed(Exception):
    """Nothing after this happens."""


def killed(*_: Any, **__: Any) -> None:
    raise Killed


def test_a_file_that_somebody_removed_comes_back(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await begin(laptop, server)
        server.close()
        (server.folder / "sessions" / "cli-1.json").unlink()
        server.open()
        await server.connect()
        await quiet(laptop, server)
        assert server.texts("cli-1") == laptop.texts("cli-1") == ["one"]

    meet(work)


def test_a_session_in_which_a_turn_runs_is_changed_once_that_has_ended(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await begin(laptop, server)
        await laptop.say("cli-1", "two")
        await laptop.step()
        async with server.queues.enter("cli-1", AGENT):
            await server.step()
            assert server.texts("cli-1") == ["one"]
            assert server.sync.busy == {"cli-1"}
            await server.connect()  # a restart forgets it no more than the end of a connection does
            assert server.sync.busy == {"cli-1"}
        await quiet(laptop, server)
        assert server.texts("cli-1") == ["one", "two"]

    meet(work)


def test_a_new_machine_gets_everything_in_pieces_the_last_used_first(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        for number in range(70):
            await laptop.say(f"cli-{number}", f"message {number}")
        for text in ("x" * 3_000_000, "y" * 3_000_000, "z"):
            await laptop.say("cli-1", text)
        await laptop.step()
        assert await server.sync.pull()
        first = server.all().keys()
        assert "cli-1" in first
        assert "cli-69" in first
        assert "cli-2" not in first
        assert server.sync.to_pull == 70 - len(first)
        assert server.texts("cli-1") == laptop.texts("cli-1")
        await server.connect()  # it is interrupted
        await quiet(laptop, server)
        assert server.all().keys() == laptop.all().keys()
        assert server.sync.to_pull == 0

    meet(work)


def test_a_file_that_cannot_be_read_holds_up_no_other(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        for session_id in ("cli-1", "cli-2", "cli-3"):
            await laptop.say(session_id, "one")
        await quiet(laptop, server)
        await server.trash.delete_session(DeleteSession("cli-3"))
        await quiet(server, laptop)
        server.close()
        for path in [*server.folder.glob("sessions/cli-1.json"), *server.folder.glob("trash/cli-3.*")]:
            path.write_bytes(b"what another program wrote")
        server.open()
        await server.connect()
        for session_id in ("cli-1", "cli-2"):
            await laptop.say(session_id, "two")
        await laptop.step()
        await server.step()
        assert server.texts("cli-2") == ["one", "two"]
        assert server.sync.busy == {"cli-1"}

    meet(work)


def test_what_a_hub_cannot_keep_because_its_disk_is_full_is_pushed_once_it_can(tmp_path, postgres):
    url = postgres.database()
    init(url)
    texts = [base64.b64encode(os.urandom(750_000)).decode() for _ in range(6)]

    async def work() -> None:
        async with asyncio.timeout(60), HubHome(tmp_path / "laptop", url, "laptop") as laptop:
            postgres.kill()
            postgres.start(largest_file=3 * 1024 * 1024)
            await laptop.connect()
            for text in texts:
                await laptop.say("cli-1", text)
            with pytest.raises(psycopg.Error) as full:
                await laptop.step()
            assert explained(full.value)[0] == "unreachable"
            assert laptop.texts("cli-1") == texts
            postgres.kill()
            postgres.start()
            await laptop.connect()
            await quiet(laptop)

    asyncio.run(work())
    assert [seq for seq, _ in at_hub(url)["cli-1"][1]] == list(range(1, 7))
