"""Reads the references of a message, which are recorded with it: files, sessions, URLs, text."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from pathlib import Path

from port42_daemon import durable
from port42_daemon.sessions.service import Sessions
from port42_daemon.turns import history
from port42_protocol.errors import InvalidParams, RpcError
from port42_protocol.messages.records import Record, Reference
from port42_protocol.messages.sessions import FindSession, GetSession

LIMIT = 256 * 1024
"""Bytes that one reference may have: a message is answered from all of it, and kept for good."""
MOST = 16
_URL_SECONDS = 20.0


async def read(references: Sequence[Reference], agent: str, sessions: Sessions) -> tuple[Reference, ...]:
    """Each with its content. Raises `InvalidParams` that names the one that cannot be had."""
    if len(references) > MOST:
        raise _refused("references", f"at most {MOST} references", f"{len(references)} of them")
    return tuple(
        [
            await _read(f"references[{index}]", reference, agent, sessions)
            for index, reference in enumerate(references)
        ]
    )


async def _read(field: str, reference: Reference, agent: str, sessions: Sessions) -> Reference:
    if reference.type == "text":
        if reference.content is None:
            raise _refused(field, "content with a text reference", "none")
        return reference
    if reference.content is not None:
        raise _refused(field, f"no content with a {reference.type} reference", "some")
    if reference.type == "file":
        data = await sessions.threads.files(_file, field, reference.target)
    elif reference.type == "url":
        data = await _url(field, reference.target)
    else:
        data = await _session(field, reference.target, agent, sessions)
    if len(data) > LIMIT:
        raise _refused(field, f"at most {LIMIT:,} bytes", f"{reference.target} with more")
    try:
        content = data.decode()
    except UnicodeDecodeError:
        raise _refused(field, "text in UTF-8", f"{reference.target}, which is not") from None
    return Reference(reference.type, reference.target, content)


def _file(field: str, path: str) -> bytes:
    if not path.startswith("/"):
        raise _refused(field, "an absolute path", path)
    try:
        return durable.read_file(Path(path), LIMIT)
    except durable.NotReadable as error:
        raise _refused(field, f"a file of at most {LIMIT:,} bytes", f"{path}: {error}") from None
    except OSError as error:
        raise _refused(field, "a file that can be read", f"{path}: {error.strerror}") from None
    except ValueError:  # a NUL in the path
        raise _refused(field, "a file that can be read", "a name that no file can have") from None


async def _session(field: str, ref: str, agent: str, sessions: Sessions) -> bytes:
    """The transcript of any agent's session; ``last`` is the asking agent's own."""
    try:
        summary = await sessions.find_session(FindSession(ref, agent if ref == "last" else None))
        records: list[Record] = []
        after_seq: int | None = 0
        while after_seq is not None:
            request = GetSession(summary.session_id, after_seq=after_seq, limit=10_000, events=True)
            page = await sessions.get_session(request)
            records += page.messages
            after_seq = page.next_after_seq
    except RpcError as error:
        raise _refused(field, "a session", error.message) from None
    texts = [f"{message.role}: {message.content}" for message in history.transcript(records)]
    return "\n\n".join(texts).encode()


async def _url(field: str, url: str) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise _refused(field, "an http or https URL", url)
    # Imported here: 15 MiB that a daemon without such references never needs.
    await asyncio.to_thread(importlib.import_module, "aiohttp")
    import aiohttp

    data = b""
    timeout = aiohttp.ClientTimeout(total=_URL_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=timeout) as session,
            session.get(url) as response,
        ):
            if response.status != 200:
                raise _refused(field, "a URL that answers 200", f"{url}: {response.status}")
            while len(data) <= LIMIT and (piece := await response.content.readany()):
                data += piece
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _refused(field, "a URL that can be reached", f"{url}{_why(error)}") from None
    return data


def _why(error: Exception) -> str:
    import aiohttp

    match error:
        case TimeoutError():
            return f": no answer within {_URL_SECONDS:.0f} s"
        case aiohttp.InvalidURL() | ValueError():
            return ", which is no address"
        case aiohttp.ClientConnectorError() | aiohttp.ClientSSLError():
            # Imported here, as aiohttp is.
            from port42_daemon.backends.http.errors import why_not_connected

            return why_not_connected(error)
        case aiohttp.TooManyRedirects():
            return ": it leads from one address to another without an end"
        case aiohttp.ClientResponseError():
            return ": it does not speak HTTP"
        case _:
            return ": the connection was closed without an answer"


def _refused(field: str, expected: str, got: str) -> InvalidParams:
    return InvalidParams.expecting(field, expected, got=got)
