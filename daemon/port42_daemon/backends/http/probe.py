"""Whether a model server of this machine is there: one small GET, without the client of the turns."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import SplitResult

_WITHIN = 2.0


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, so that asking it is neither slow nor told to anybody."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def status_of(url: SplitResult, path: str, headers: Mapping[str, str]) -> int:
    """The HTTP status of a GET, within two seconds. Raises `OSError` (`TimeoutError` is one)."""
    # Imported here: a probe must not cost the 25 MiB of the client, nor an idle daemon this.
    import http.client

    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=_WITHIN)

    def get() -> int:
        connection.request("GET", path, headers={**headers, "connection": "close"})
        return connection.getresponse().status

    try:
        return await asyncio.wait_for(asyncio.to_thread(get), _WITHIN)
    except http.client.HTTPException as error:
        raise OSError("it does not speak HTTP") from error
    finally:
        # A thread cannot be cancelled, but what it reads from can be ended.
        with contextlib.suppress(OSError):
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
