"""Sessions that one owner shares with another: to be read, or to be gone on with."""

from __future__ import annotations

import asyncio
import uuid

import psycopg
import pytest
from peers.hub_homes import HubHome, all_quiet, at_hub, init, quiet

from port42_daemon.hub.schema import HubRefused
from port42_protocol.messages.forks_and_trash import DeleteSession
from port42_protocol.messages.records import UserMessage
from port42_protocol.messages.search import RenameSession
from port42_protocol.times import now


def authors(home: HubHome, session_id: str) -> list[str]:
    """Of each record the name of whoever else recorded it, "" for the home's own."""
    return [record.author or "" for record in home.stored_records(session_id)]


async def begun_and_shared(ada: HubHome, ben: HubHome, grantee: str) -> None:
    """Ada's session cli-1 with a message, with which Ben may go on, at both."""
    await ada.say("cli-1", "of ada")
    await all_quiet(ada)
    assert await ada.share("cli-1", grantee, "write")
    await all_quiet(ben)


def test_what_is_shared_to_be_read_is_there_and_what_is_said_in_it_becomes_an_own_fork(people):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await ada.say("cli-1", "one")
        await ada.say("cli-2", "not shared")
        await all_quiet(ada, ben)
        assert ben.all() == {}
        assert await ada.share("cli-1", people.team, "read")
        await all_quiet(ada, ben)
        assert ben.all().keys() == {"cli-1"}
        await ada.say("cli-1", "two")
        await all_quiet(ada, ben)
        assert ben.texts("cli-1") == ["one", "two"]
        await ben.sessions.rename_session(RenameSession("cli-1", "Ada's parser"))
        await ben.say("cli-1", "of ben")
        await all_quiet(ben, ada)
        assert ada.texts("cli-1") == ben.texts("cli-1") == ["one", "two"]
        (fork,) = ben.all().keys() - {"cli-1"}
        assert ben.texts(fork) == ["one", "two", "of ben"]
        assert fork not in ada.all()
        await ada.say("cli-1", "three")
        await all_quiet(ada, ben)
        assert ben.texts("cli-1") == ["one", "two", "three"]

    people(work)


def test_whoever_shares_a_session_cannot_have_it_stand_for_one_of_somebody_else(people):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await ada.say("cli-1", "of ada")
        await ben.say("ben-1", "of ben")
        await all_quiet(ada)
        assert await ada.share("cli-1", people.ben, "read")
        await all_quiet(ben)
        with psycopg.connect(ada.url, autocommit=True) as connection:
            connection.execute(
                "UPDATE port42.sessions SET generation = 1, header = replace(header, 'cli-1', 'ben-1')"
                " WHERE session_id = 'cli-1'"
            )
        await ben.step()
        assert (ben.texts("ben-1"), ben.texts("cli-1")) == (["of ben"], ["of ada"])
        assert ben.sync is not None
        assert ben.sync.busy == {"cli-1"}

    people(work)


def test_what_is_shared_to_be_gone_on_with_grows_on_both_sides_and_says_who_wrote_what(people):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await begun_and_shared(ada, ben, people.ben)
        await ben.say("cli-1", "of ben")
        await all_quiet(ben, ada)
        assert ada.texts("cli-1") == ben.texts("cli-1") == ["of ada", "of ben"]
        await ada.say("cli-1", "ada at once")
        await ben.say("cli-1", "ben at once")
        await ada.step()
        await all_quiet(ben, ada)
        assert ada.texts("cli-1") == ben.texts("cli-1") == ["of ada", "of ben", "ada at once"]
        (fork,) = ben.all().keys() - {"cli-1"}
        assert ben.texts(fork)[-1] == "ben at once"
        assert authors(ada, "cli-1") == ["", people.ben, ""]
        assert authors(ben, "cli-1") == [people.ada, "", people.ada]
        assert authors(ben, fork)[:3] == [people.ada, "", ""]
        await ben.trash.delete_session(DeleteSession("cli-1"))  # here only
        await all_quiet(ben, ada)
        assert (ben.store.where("cli-1"), ada.store.where("cli-1")) == ("trash", "sessions")

    people(work)


def test_who_wrote_a_record_stays_known_where_the_hub_is_given_everything_again(people):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await begun_and_shared(ada, ben, people.ben)
        await ben.say("cli-1", "of ben")
        await all_quiet(ben, ada)
        with psycopg.connect(people.ada_url, autocommit=True) as connection:
            for table in ("shares", "records", "sessions"):
                connection.execute(f"DELETE FROM port42.{table}")
        ada.disconnect()
        (ada.folder / "hub.db").unlink()
        await ada.connect()
        await all_quiet(ada)
        assert await ada.share("cli-1", people.team, "read")
        async with HubHome(ada.folder.parent / "second", people.ada_url, "ada's desktop") as second:
            await second.connect()
            await all_quiet(second, ben)
            assert authors(second, "cli-1") == authors(ada, "cli-1") == ["", people.ben]
            assert authors(ben, "cli-1") == [people.ada, ""]
            assert second.all().keys() == ben.all().keys() == {"cli-1"}

    people(work)


def test_nobody_can_say_that_somebody_else_wrote_it(people):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await begun_and_shared(ada, ben, people.ben)
        said = UserMessage(seq=0, content="of ben", timestamp=now(), author=people.ada)
        await ben.sessions.add_later("cli-1", [said])
        await all_quiet(ben, ada)
        assert authors(ada, "cli-1") == ["", people.ben]

    people(work)


def test_what_is_shared_no_more_stays_where_it_is_and_goes_nowhere(people):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await ada.say("cli-1", "one")
        await all_quiet(ada)
        assert await ada.share("cli-1", people.ben, "write")
        await all_quiet(ben)
        assert await ada.share("cli-1", people.ben, None)
        await ben.say("cli-1", "of ben, later")
        await ada.say("cli-1", "of ada, later")
        await all_quiet(ben, ada)
        assert ben.texts("cli-1") == ["one", "of ben, later"]
        assert ada.texts("cli-1") == ["one", "of ada, later"]
        with pytest.raises(HubRefused, match="does not have session cli-1"):
            await ben.share("cli-1", people.team, "read")

    people(work)


def test_without_its_notes_a_home_knows_whose_a_session_is(people):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await ada.say("cli-1", "one")
        await ada.say("cli-2", "of ada, with an id that ben has, too")
        await ben.say("cli-2", "of ben")
        await all_quiet(ada, ben)
        for session_id in ("cli-1", "cli-2"):
            assert await ada.share(session_id, people.ben, "read")
        await all_quiet(ben)
        ben.disconnect()
        (ben.folder / "hub.db").unlink()
        await ben.connect()
        await all_quiet(ben)
        assert ben.sync is not None
        assert ben.sync.others.keys() == {"cli-1"}
        assert ben.texts("cli-2") == ["of ben"]
        assert (await ben.threads.hub(ben.database.totals)).sessions == 1  # type: ignore[union-attr]

    people(work)


def test_without_its_notes_a_home_does_not_take_what_was_shared_once_for_its_own(people):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await ada.say("cli-1", "one")
        await all_quiet(ada)
        assert await ada.share("cli-1", people.ben, "write")
        await all_quiet(ben)
        fork = await ben.fork("cli-1")
        assert await ada.share("cli-1", people.ben, None)
        ben.disconnect()
        (ben.folder / "hub.db").unlink()
        await ben.say("cli-1", "of ben, later")
        await ben.connect()
        await all_quiet(ben)
        assert at_hub(people.ben_url).keys() == {fork}
        assert await ada.share("cli-1", people.ben, "read")
        await all_quiet(ben)
        assert ben.texts("cli-1") == ["one"]
        assert sorted(map(len, map(ben.texts, ben.all()))) == [1, 1, 2]  # what was said later is in a fork

    people(work)


def test_nobody_can_be_named_who_is_no_role(people):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await ada.say("cli-1", "one")
        await all_quiet(ada)
        assert not await ada.share("cli-1", "nobody at all", "read")
        with pytest.raises(HubRefused, match="does not have session cli-9"):
            await ada.share("cli-9", people.ben, "read")

    people(work)


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE port42.sessions SET trashed = true WHERE session_id = 'cli-1'",
        "UPDATE port42.sessions SET purged_at = now() WHERE session_id = 'cli-1'",
        "UPDATE port42.sessions SET header = '{}' WHERE session_id = 'cli-1'",
        "UPDATE port42.sessions SET last_seq = 0 WHERE session_id = 'cli-1'",
        "UPDATE port42.owners SET changes = 99 WHERE owner <> session_user",
        "UPDATE port42.owners SET owner = session_user || 'x' WHERE owner <> session_user",
        "INSERT INTO port42.records (owner, session_id, seq, line, machine, author)"
        " SELECT owner, session_id, 9, '{}', gen_random_uuid(), owner FROM port42.sessions",
    ],
)
def test_who_may_go_on_with_a_session_can_do_nothing_else_to_it(people, forbidden):
    async def work(ada: HubHome, ben: HubHome) -> None:
        await ada.say("cli-1", "one")
        await all_quiet(ada)
        assert await ada.share("cli-1", people.ben, "write")

    people(work)
    with (
        psycopg.connect(people.ben_url, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(forbidden)
    with psycopg.connect(people.ben_url, autocommit=True) as connection:
        for table in ("records", "sessions", "shares", "owners"):
            deleted = connection.execute(f"DELETE FROM port42.{table} WHERE owner <> session_user")
            assert deleted.rowcount == 0


def test_who_made_the_tables_need_not_be_a_superuser_and_sees_nothing_in_them(tmp_path, shared_postgres):
    mark = uuid.uuid4().hex[:8]
    name = shared_postgres.database().partition("?")[0].rpartition("/")[2]
    with psycopg.connect(shared_postgres.url(name), autocommit=True) as connection:
        for role in ("admin", "eve"):
            connection.execute(f'CREATE ROLE "{role}_{mark}" LOGIN')
        connection.execute(f'ALTER DATABASE "{name}" OWNER TO "admin_{mark}"')
    admin_url, eve_url = (shared_postgres.url(name, f"{role}_{mark}") for role in ("admin", "eve"))
    init(admin_url)

    async def work() -> None:
        async with asyncio.timeout(60), HubHome(tmp_path / "eve", eve_url, "eve's laptop") as eve:
            await eve.connect()
            await eve.say("cli-1", "of eve")
            await quiet(eve)
            assert await eve.share("cli-1", f"admin_{mark}", "read")
            assert await eve.share("cli-1", f"admin_{mark}", None)

    asyncio.run(work())
    assert at_hub(eve_url).keys() == {"cli-1"}
    assert at_hub(admin_url) == {}
