"""Where the hub is, and how it is reached: libpq's parameters from ``[hub]``."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Mapping
from itertools import filterfalse
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from port42_daemon import secret
from port42_daemon.config import HubConfig
from port42_daemon.hub.schema import HubRefused

_PATIENCE: dict[str, str] = {
    # Seconds and milliseconds after which a server that is silent counts as gone.
    "connect_timeout": "5",
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
}
_ROOTS = Path("~/.postgresql/root.crt")
"""Where libpq looks for the certificates of authorities."""


async def parameters(config: HubConfig, environ: Mapping[str, str]) -> dict[str, Any]:
    """What libpq connects with. Raises `HubRefused`, without words of the address or the password.

    A server elsewhere must prove who it is, unless the address, or PGSSLMODE, says otherwise. What a service
    says is in libpq's service file, with its sslmode.
    """
    if config.service is not None:
        named: dict[str, Any] = {"service": config.service}
    else:
        try:
            named = conninfo_to_dict(config.url or "")
            for host in filterfalse(_is_local, _hosts(named)):
                host.encode("idna")  # as who resolves it will
        except (psycopg.ProgrammingError, UnicodeError):
            raise HubRefused("its address is none: expected postgresql://USER@HOST/DATABASE") from None
        if not ("sslmode" in named or "PGSSLMODE" in environ or _is_here(named)):
            named["sslmode"] = "verify-full"
            if "sslrootcert" not in named and not await asyncio.to_thread(_has_own_roots):
                named["sslrootcert"] = "system"
    source = secret.Source("password", config.password_env, config.password_file, config.password_keyring)
    try:
        where, password = await secret.read(source, environ)
    except secret.Unusable as error:
        raise HubRefused(str(error)) from None
    return _PATIENCE | named | ({"password": password} if where is not None else {})


def _has_own_roots() -> bool:
    return _ROOTS.expanduser().exists()


def described(config: HubConfig) -> str:
    """The hub's address for a person, without user or password."""
    if config.service is not None:
        return f"service {config.service}"
    try:
        named = conninfo_to_dict(config.url or "")
    except psycopg.ProgrammingError:
        return "an address that is none"
    host = str(named.get("hostaddr") or named.get("host") or os.environ.get("PGHOST") or "this machine")
    return f"{host}/{named.get('dbname') or named.get('user') or ''}".rstrip("/")


def _is_here(named: Mapping[str, Any]) -> bool:
    """Whether every server that is named is on this machine: a socket, or a loopback address."""
    return all(map(_is_local, _hosts(named)))


def _hosts(named: Mapping[str, Any]) -> list[str]:
    return str(named.get("hostaddr") or named.get("host") or os.environ.get("PGHOST") or "").split(",")


def _is_local(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
