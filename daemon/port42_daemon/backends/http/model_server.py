"""What both kinds of model server share: one client, retries before the first byte, one `Done` at the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import ssl
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import msgspec

from port42_daemon.backends.base import Ask, Done, Event, Failure, Health, Notice, Turn
from port42_daemon.backends.http.api_key import Key, KeyUnavailable, described, read_key
from port42_daemon.backends.http.errors import Declined, Failed, kind_of_status, said_in, why_not_connected
from port42_daemon.backends.http.probe import is_loopback, status_of
from port42_daemon.backends.http.retry import LONGEST_WISH, pause_before, wish_of
from port42_daemon.backends.http.stream import Reply
from port42_daemon.config import AnthropicBackend, OpenAIBackend
from port42_protocol.version import __version__

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

_CONNECT_WITHIN = 10.0
_KEPT_ALIVE = 60.0
"""Seconds a connection is kept for the next turn: about a person's pause between two."""
_ERROR_BYTES = 64 * 1024
_EVENT_BYTES = 16 * 1024 * 1024
_ERROR_WITHIN = 5.0
_SAY_FROM = 2.0
"""Seconds of waiting that a person is told of."""


class ModelServer(ABC):
    """One model server, and the client for it, made at the first turn and kept.

    `own_url` is the provider's address, where nobody is answered without a key; the paths are where a
    reply is asked for, and where the models are listed.
    """

    own_url: ClassVar[str]
    reply_path: ClassVar[str]
    models_path: ClassVar[str]

    def __init__(
        self, config: OpenAIBackend | AnthropicBackend, environ: Mapping[str, str] | None = None
    ) -> None:
        self._config = config
        self._base_url = config.base_url.rstrip("/")
        self._environ = os.environ if environ is None else environ
        self._client: httpx2.AsyncClient | None = None
        self._making = asyncio.Lock()
        try:
            url = urlsplit(self._base_url)
            port = "" if url.port is None else f":{url.port}"
        except ValueError:
            # The first request says what is wrong; a configuration is no place for an exception.
            url, port = urlsplit(""), ""
        self._name = (url.hostname or "base_url") + port
        self._url = url
        self._local = is_loopback(url.hostname or "")
        self._own = url.netloc == urlsplit(self.own_url).netloc

    @abstractmethod
    def _headers(self, key: Key | None) -> dict[str, str]:
        """What every request says beside its body."""

    @abstractmethod
    def _turn(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """The events of `turn`. Raises `Failed`."""

    async def run(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event, None]:  # noqa: ARG002 - no tools, no leave to ask
        """Answer `turn`."""
        try:
            async with aclosing(self._turn(turn)) as events:
                async for event in events:
                    yield event
        except Failed as failed:
            yield Done(failed.failure)
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
        if self._local:
            return await self._seen(self._headers(key))
        found = "the key is there" if key else "no key is configured"
        return Health("ready", f"{found}; {self._name} is first asked by a turn")

    async def aclose(self) -> None:
        """Close the kept connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _seen(self, headers: dict[str, str]) -> Health:
        try:
            status = await status_of(self._url, self._url.path + self.models_path, headers)
        except TimeoutError:
            return Health("unreachable", f"{self._name} does not answer")
        except OSError as error:
            return Health("unreachable", f"{self._name} cannot be reached{why_not_connected(error)}")
        if kind_of_status(status) == "needs_auth":
            return Health("needs_auth", f"{self._name} refuses the key: {described(self._config)}")
        if status >= 500:
            return Health("unreachable", f"{self._name} answers {status}")
        return Health("ready", f"{self._name} answers")

    async def _answer(self, body: dict[str, Any], reply: Reply) -> AsyncGenerator[Event, None]:
        """Ask, and yield what `reply` makes of the answer, `Done` last. Raises `Failed`.

        A stream that goes on after the reply is whole is read for as long as the reply's patience, so
        that the connection can be used again, and then closed; what goes wrong then is of no matter.
        """
        deadline: float | None = None
        try:
            async with aclosing(self._stream(body)) as stream:
                while (said := await _next(stream, deadline)) is not None:
                    if isinstance(said, Notice):
                        yield said
                        continue
                    for event in reply.take(said):
                        yield event
                    if reply.patience is not None:
                        latest = time.monotonic() + reply.patience
                        deadline = latest if deadline is None else min(deadline, latest)
        except msgspec.DecodeError:
            if deadline is None:
                raise Failed("crashed", f"{self._name} sent something that is not its protocol") from None
        except Failed:
            if deadline is None:
                raise
        for event in reply.end():
            yield event

    async def _stream(self, body: dict[str, Any]) -> AsyncGenerator[str | Notice, None]:
        """The data of the server-sent events of the answer, and a `Notice` of each longer wait for it."""
        key = await self._key()
        client = await self._connected()
        for attempt in itertools.count():
            try:
                response = await self._ask(client, body, key)
                break
            except Failed as failed:
                if not failed.again or attempt >= self._config.retries:
                    raise
                pause, why = pause_before(attempt, failed.wait), failed.failure.message
            if pause >= _SAY_FROM:
                yield Notice(f"{why}; trying again in {pause:.0f} s")
            await asyncio.sleep(pause)
        async with aclosing(response), aclosing(self._events(response)) as events:
            async for data in events:
                # A server that repeats what it was sent must not bring the key into a session.
                yield key.hidden_in(data) if key else data

    async def _ask(
        self, client: httpx2.AsyncClient, body: dict[str, Any], key: Key | None
    ) -> httpx2.Response:
        """One attempt: the response when it is a reply that has begun. Raises `Failed`."""
        import httpx2

        try:
            request = client.build_request(
                "POST",
                self._base_url + self.reply_path,
                headers=self._headers(key),
                content=msgspec.json.encode(body),
            )
            response = await client.send(request, stream=True)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise self._no_answer(error) from None
        if response.is_success:
            return response
        async with aclosing(response):
            raise await self._declined(response, key)

    def _no_answer(self, error: Exception) -> Failed:
        """What a request came to that got no response at all."""
        import httpx2

        match error:
            case httpx2.InvalidURL() | httpx2.UnsupportedProtocol():
                return Failed("refused", "base_url is not an address")
            case httpx2.ConnectTimeout():
                return Failed("network", f"{self._name} cannot be reached: no answer", again=True)
            case httpx2.ConnectError():
                why = why_not_connected(error)
                return Failed("network", f"{self._name} cannot be reached{why}", again=True)
            case httpx2.TimeoutException():
                # Not again: it may be at work on the answer, and would be paid for it twice.
                return Failed("timeout", self._silent())
            case httpx2.ProxyError():
                return Failed("network", f"the proxy to {self._name} refuses", again=True)
            case _:
                # A kept connection that the server closes as we write to it ends here too.
                return Failed("network", f"{self._name} hung up without an answer", again=True)

    async def _declined(self, response: httpx2.Response, key: Key | None) -> Failed:
        """What a response that is not a reply means."""
        status = response.status_code
        if kind_of_status(status) == "needs_auth":
            # Its words are left out: they like to quote the key.
            message = f"{self._name} refuses the key ({status}): {described(self._config)}"
            return Failed("needs_auth", message)
        if response.is_redirect:
            # Not followed: the key was meant for this address.
            return Failed("refused", f"{self._name} sends us elsewhere ({status}): correct base_url")
        body = (await _body(response)).decode(errors="replace")
        said = said_in(key.hidden_in(body) if key else body)
        message = f"{self._name} answers {status}" + (f": {said}" if said else "")
        if status == 404 and not said:
            message += f": is base_url right, and is there a model {self._config.model}?"
        wait = wish_of(response.headers.get("retry-after"))
        if wait is not None and wait > LONGEST_WISH:
            return Failed(kind_of_status(status), f"{message}; it wants to be asked again in {wait:.0f} s")
        return Declined(message, status, said, wait)

    async def _events(self, response: httpx2.Response) -> AsyncGenerator[str, None]:
        """The data of each server-sent event. Raises `Failed`."""
        import httpx2

        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            raise Failed("crashed", f"{self._name} answers no stream of events: is base_url right?")
        try:
            async for event in httpx2.EventSource(response, _EVENT_BYTES):
                if event.data:
                    yield event.data
        except httpx2.SSEError:
            raise Failed("crashed", f"{self._name} sent an event of over 16 MiB") from None
        except httpx2.TimeoutException:
            raise Failed("timeout", self._silent()) from None
        except httpx2.RequestError:
            raise Failed("network", f"{self._name} was lost in the middle of its reply") from None

    def _silent(self) -> str:
        return f"{self._name} sent nothing for {self._config.timeout:g} s"

    async def _key(self) -> Key | None:
        try:
            key = await read_key(self._config, self._environ)
        except KeyUnavailable as error:
            raise Failed("needs_auth", error.message) from None
        if key is None and self._own:
            raise Failed("needs_auth", f"{self._name} wants a key: {described(self._config)}")
        return key

    async def _connected(self) -> httpx2.AsyncClient:
        async with self._making:
            if self._client is None:
                # In a thread: the import and the certificates take a tenth of a second.
                self._client = await asyncio.to_thread(self._made)
            return self._client

    def _made(self) -> httpx2.AsyncClient:
        import httpx2

        # It logs the address of every request, which may have a password in it.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        connect = min(_CONNECT_WITHIN, self._config.timeout)
        plain = self._local and self._url.scheme == "http"
        try:
            return httpx2.AsyncClient(
                headers={
                    "user-agent": f"port42/{__version__}",
                    "content-type": "application/json",
                    "accept": "text/event-stream, application/json",
                    # Compression holds small events back until there is a block of them.
                    "accept-encoding": "identity",
                },
                timeout=httpx2.Timeout(self._config.timeout, connect=connect, pool=None),
                limits=httpx2.Limits(
                    max_connections=None, max_keepalive_connections=4, keepalive_expiry=_KEPT_ALIVE
                ),
                # Plain HTTP gets a context that trusts nobody: to read all certificates takes 20 ms and more.
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
                # Nobody means a proxy to stand between two programs of one machine.
                trust_env=not self._local,
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL):
            message = "the proxy or the certificates that the daemon's environment names cannot be used"
            raise Failed("refused", message) from None


async def _next(stream: AsyncGenerator[str | Notice, None], deadline: float | None) -> str | Notice | None:
    """What comes next; None at the end, or at the deadline."""
    if deadline is None:
        return await anext(stream, None)
    try:
        return await asyncio.wait_for(anext(stream, None), max(0, deadline - time.monotonic()))
    except TimeoutError:
        return None


async def _body(response: httpx2.Response) -> bytes:
    """As much of an error's body as comes within a few seconds and is worth reading."""
    import httpx2

    body = b""
    with contextlib.suppress(TimeoutError, httpx2.RequestError):
        async with asyncio.timeout(_ERROR_WITHIN):
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _ERROR_BYTES:
                    break
    return body
