"""The base of both kinds of model server: one client, retries before the first byte, one final `Done`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import itertools
import logging
import os
import socket
import time
import traceback
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from port42_daemon.backends.base import Ask, Done, Event, Failure, FailureKind, Health, Notice, Turn
from port42_daemon.backends.errors import kind_of_status, one_line
from port42_daemon.backends.http.api_key import Key, described, read_key
from port42_daemon.backends.http.conversation import Reply
from port42_daemon.backends.http.errors import (
    LONGEST_WAIT,
    Failed,
    pause_before,
    seconds_of,
    why_not_connected,
    words_in,
)
from port42_daemon.config import AnthropicBackend, OpenAIBackend
from port42_protocol.errors import RestartNeeded
from port42_protocol.version import __version__

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

_CONNECT_WITHIN = 10.0
_KEPT_ALIVE = 60.0
"""Seconds a connection is kept for the next turn: about a person's pause between two."""
_PROBE_WITHIN = 2.0
_ERROR_BYTES = 64 * 1024
_ERROR_WITHIN = 5.0
_SAY_FROM = 2.0
"""Seconds of waiting that a person is told of."""


class ModelServer(ABC):
    """One model server, and the client for it, made at the first turn and kept.

    `own_url` is the provider's address, which requires a key; the paths are those for a reply and for the
    list of models; `reply` parses a response.
    """

    own_url: ClassVar[str]
    reply_path: ClassVar[str]
    models_path: ClassVar[str]
    reply: ClassVar[type[Reply]]

    def __init__(
        self, config: OpenAIBackend | AnthropicBackend, environ: Mapping[str, str] | None = None
    ) -> None:
        self._config = config
        self._base_url = config.base_url.rstrip("/")
        self._environ = os.environ if environ is None else environ
        self._session: aiohttp.ClientSession | None = None
        try:
            url = urlsplit(self._base_url)
            port = "" if url.port is None else f":{url.port}"
        except ValueError:
            # The first request says what is wrong; a configuration is no place for an exception.
            url, port = urlsplit(""), ""
        self._name = (url.hostname or "base_url") + port
        self._url = url
        self._local = _is_loopback(url.hostname or "")
        self._own = url.netloc == urlsplit(self.own_url).netloc

    @abstractmethod
    def _headers(self, key: Key) -> dict[str, str]:
        """The headers of every request."""

    @abstractmethod
    def _turn(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """The events of `turn`. Raises `Failed`."""

    async def run(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event, None]:  # noqa: ARG002 - no tools, so no permissions
        """Answer `turn`."""
        try:
            async with aclosing(self._turn(turn)) as events:
                async for event in events:
                    yield event
        except Failed as failed:
            yield Done(failed.failure)
        except ImportError:
            yield Done(Failure("missing", RestartNeeded().message))
        except Exception as error:
            # Without its text: an error about a header quotes the header.
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s while %s answered\n%s", type(error).__name__, self._name, trace)
            yield Done(Failure("crashed", f"the turn with {self._name} failed; the daemon's log has more"))

    async def probe(self) -> Health:
        """Whether the key is there and, of a server on this machine, whether it answers."""
        try:
            key = await self._key()
        except Failed as failed:
            return Health("needs_auth", failed.failure.message)
        if not self._local:
            known = "the key is there" if key else "no key is configured"
            return Health("ready", f"{known}; {self._name} is first asked by a turn")
        return await self._probe_local(self._headers(key))

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _answer(self, body: dict[str, Any]) -> AsyncGenerator[Event, None]:
        """Ask, and yield what the answer means, `Done` last. Raises `Failed`."""
        key = await self._key()
        for attempt in itertools.count():
            try:
                response = await self._ask(body, key)
                break
            except Failed as failed:
                if not failed.again or attempt >= self._config.retries:
                    raise
                pause, why = pause_before(attempt, failed.wait), failed.failure.message
            if pause >= _SAY_FROM:
                yield Notice(f"{why}; trying again in {pause:.0f} s")
            await asyncio.sleep(pause)
        reply = self.reply(self._name, key)
        async with response:
            chunk = b"-"
            while chunk and reply.failure is None:
                chunk = await self._read(response, reply)
                for event in reply.feed(chunk):
                    yield event
            if not reply.decoder.any and response.content_type != "text/event-stream":
                raise reply.not_a_stream()
        if reply.failure is not None and reply.deadline is None:
            raise reply.failure
        for event in reply.end():
            yield event

    async def _read(self, response: aiohttp.ClientResponse, reply: Reply) -> bytes:
        """The next bytes; none at the end, or where the reply is whole and nothing more comes."""
        import aiohttp

        try:
            if reply.deadline is None:
                return await response.content.readany()
            async with asyncio.timeout(max(0, reply.deadline - time.monotonic())):
                return await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            if reply.deadline is not None:
                return b""
            if isinstance(error, TimeoutError):
                raise Failed("timeout", self._silent()) from None
            raise Failed("network", f"{self._name} was lost in the middle of its reply") from None

    async def _ask(self, body: dict[str, Any], key: Key) -> aiohttp.ClientResponse:
        """One attempt: the response when it is a reply that has begun. Raises `Failed`."""
        session = await self._connected()
        import aiohttp

        try:
            response = await session.post(
                self._base_url + self.reply_path,
                headers=self._headers(key),
                data=msgspec.json.encode(body),
                proxy=self._proxy(),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._no_answer(error) from None
        if response.ok and not 300 <= response.status < 400:
            return response
        async with response:
            raise await self._declined(response, key)

    def _no_answer(self, error: Exception) -> Failed:
        import aiohttp

        kind: FailureKind = "network"
        again = True
        match error:
            case aiohttp.InvalidURL() | ValueError():
                kind, again, message = "refused", False, "base_url is not an address"
            case aiohttp.ConnectionTimeoutError():
                message = f"{self._name} cannot be reached: no answer"
            case TimeoutError():
                # No retry: the server may already be generating, and would bill twice.
                kind, again, message = "timeout", False, self._silent()
            case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
                message = f"the proxy to {self._name} refuses"
            case aiohttp.ClientConnectorError() | aiohttp.ClientSSLError():
                message = f"{self._name} cannot be reached{why_not_connected(error)}"
            case aiohttp.ClientResponseError():
                kind, again = "crashed", False
                message = f"{self._name} does not speak HTTP: is base_url right?"
            case _:
                # A kept connection that the server closes as we write to it ends here too.
                message = f"{self._name} closed the connection without a response"
        return Failed(kind, message, again=again)

    async def _declined(self, response: aiohttp.ClientResponse, key: Key) -> Failed:
        status = response.status
        if kind_of_status(status) == "needs_auth":
            # Its text is left out: it often quotes the key.
            message = f"{self._name} refuses the key ({status}): {described(self._config)}"
            return Failed("needs_auth", message)
        if status < 400:
            # Not followed: the key was meant for this address.
            return Failed("refused", f"{self._name} redirects ({status}): correct base_url")
        body = (await _error_body(response)).decode(errors="replace")
        words = one_line(key.hidden_in(words_in(body)))
        message = f"{self._name} answers {status}" + (f": {words}" if words else "")
        if status == 404 and not words:
            message += f": is base_url right, and is there a model {self._config.model}?"
        wait = seconds_of(response.headers.get("retry-after"))
        if wait is not None and wait > LONGEST_WAIT:
            return Failed(kind_of_status(status), f"{message}; it wants to be asked again in {wait:.0f} s")
        again = status in (408, 429) or status >= 500
        kind = kind_of_status(status)
        return Failed(kind, message, again=again, wait=wait, status=status, words=words)

    async def _probe_local(self, headers: dict[str, str]) -> Health:
        try:
            status = await _status_of(self._url, self._url.path + self.models_path, headers)
        except TimeoutError:
            return Health("unreachable", f"{self._name} does not answer")
        except OSError as error:
            return Health("unreachable", f"{self._name} cannot be reached{why_not_connected(error)}")
        if kind_of_status(status) == "needs_auth":
            return Health("needs_auth", f"{self._name} refuses the key: {described(self._config)}")
        if status >= 500:
            return Health("unreachable", f"{self._name} answers {status}")
        return Health("ready", f"{self._name} answers")

    def _silent(self) -> str:
        return f"{self._name} sent nothing for {self._config.timeout:g} s"

    async def _key(self) -> Key:
        key = await read_key(self._config, self._environ)
        if not key and self._own:
            raise Failed("needs_auth", f"{self._name} wants a key: {described(self._config)}")
        return key

    def _proxy(self) -> str | None:
        """The proxy that the environment names; never one between two programs of one machine."""
        host = self._url.hostname or ""
        if self._local or urllib.request.proxy_bypass(host):
            return None
        proxies = urllib.request.getproxies()
        proxy = proxies.get(self._url.scheme) or proxies.get("all")
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            message = (
                "the proxy that the daemon's environment names cannot be used: expected http:// or https://"
            )
            raise Failed("refused", message)
        return proxy

    async def _connected(self) -> aiohttp.ClientSession:
        # In a thread: the import takes a tenth of a second.
        await asyncio.to_thread(importlib.import_module, "aiohttp")
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={
                    "user-agent": f"port42/{__version__}",
                    "content-type": "application/json",
                    "accept": "text/event-stream, application/json",
                    # Compression holds small events back until there is a block of them.
                    "accept-encoding": "identity",
                },
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=min(_CONNECT_WITHIN, self._config.timeout),
                    sock_read=self._config.timeout,
                ),
            )
        return self._session


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    import aiohttp

    body = b""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_ERROR_WITHIN):
            while len(body) <= _ERROR_BYTES and (piece := await response.content.readany()):
                body += piece
    return body


def _is_loopback(host: str) -> bool:
    """Whether `host` is this machine, so that asking it is neither slow nor told to anybody."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def _status_of(url: SplitResult, path: str, headers: Mapping[str, str]) -> int:
    """The HTTP status of a GET, within two seconds. Raises `OSError` (`TimeoutError` is one)."""
    # Imported here: a probe must not cost the 15 MiB of the client, nor an idle daemon this.
    import http.client

    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=_PROBE_WITHIN)

    def get() -> int:
        connection.request("GET", path, headers={**headers, "connection": "close"})
        return connection.getresponse().status

    try:
        return await asyncio.wait_for(asyncio.to_thread(get), _PROBE_WITHIN)
    except http.client.HTTPException as error:
        raise OSError("it does not speak HTTP") from error
    finally:
        # A thread cannot be cancelled, but what it reads from can be ended.
        with contextlib.suppress(OSError):
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
