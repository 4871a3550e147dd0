"""The tables at the hub: made and brought up to date by numbered migrations, refused where they are newer."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

_LOCK = 0x706F727434320001
"""The advisory lock under which migrations run: "port42" and a number, so that others have another one."""
_NAME = re.compile(r"(\d{4})_\w+\.sql")
_FIRST = """
CREATE SCHEMA IF NOT EXISTS port42;
CREATE TABLE IF NOT EXISTS port42.migrations (
  version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS port42.identity (hub uuid NOT NULL);
INSERT INTO port42.identity SELECT gen_random_uuid() WHERE NOT EXISTS (SELECT FROM port42.identity);
"""


class HubRefused(Exception):
    """The hub cannot be used as it is; the text says why, and what to do."""


def migrations() -> dict[int, tuple[str, str]]:
    """Name and SQL of each migration, by its number."""
    numbered = {}
    for file in resources.files(__package__).joinpath("migrations").iterdir():
        if match := _NAME.fullmatch(file.name):
            numbered[int(match[1])] = file.name.removesuffix(".sql"), file.read_text()
    return dict(sorted(numbered.items()))


def migrate(connection: Connection[Any]) -> list[str]:
    """Make the tables, or bring them up to date; gives the names of what was applied. Raises `HubRefused`.

    Everything in one transaction. `connection` is in autocommit mode.
    """
    applied = []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(_FIRST)
        known = _applied(connection)
        _refuse_newer(known)
        for number, (name, sql) in migrations().items():
            if number not in known:
                connection.execute(sql)
                connection.execute("INSERT INTO port42.migrations VALUES (%s, %s)", (number, name))
                applied.append(name)
    return applied


def require(connection: Connection[Any]) -> str:
    """The hub's id, if its tables are those that this version knows. Raises `HubRefused`."""
    if connection.execute("SELECT to_regclass('port42.migrations')").fetchone() == (None,):
        raise HubRefused("it has no tables of Port42 yet: `port42 hub init` makes them")
    known = _applied(connection)
    _refuse_newer(known)
    if missing := [name for number, (name, _) in migrations().items() if number not in known]:
        raise HubRefused(f"its tables lack {', '.join(missing)}: `port42 hub init` brings them up to date")
    row = connection.execute("SELECT hub FROM port42.identity").fetchone()
    if row is None:
        raise HubRefused("its table port42.identity is empty: it was not made by `port42 hub init`")
    return str(row[0])


def _applied(connection: Connection[Any]) -> dict[int, str]:
    return dict(connection.execute("SELECT version, name FROM port42.migrations").fetchall())


def _refuse_newer(known: dict[int, str]) -> None:
    newest = max(migrations())
    if newer := [name for number, name in sorted(known.items()) if number > newest]:
        raise HubRefused(f"its tables are of a newer Port42 (they have {', '.join(newer)}): update this one")
