"""The base of both kinds of model server: one client, retries before the first byte, one final `Done`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import itertools
import logging
import os
import re
import time
import traceback
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult, urlsplit

from port42_daemon.backends.base import (
    Ask,
    Done,
    Event,
    Failure,
    FailureKind,
    Health,
    ModelOffer,
    Notice,
    Turn,
)
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
from port42_daemon.backends.http.model_list import MOST_BYTES, CachedOffer, likely_meant, listed
from port42_daemon.config import AnthropicBackend, OpenAIBackend
from port42_protocol import __version__
from port42_protocol.encoding import encode
from port42_protocol.errors import RestartNeeded

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

_CONNECT_WITHIN = 10.0
_KEPT_ALIVE = 60.0
"""Seconds a connection is kept for the next turn: about a person's pause between two."""
_PROBE_WITHIN = 2.0
_LIKELY_WITHIN = 2.0
_ERROR_BYTES = 64 * 1024
_ERROR_WITHIN = 5.0
_SAY_FROM = 2.0
"""Seconds of waiting that a person is told of."""
_STATUS_LINE = re.compile(rb"HTTP/1\.\d (\d{3})\b")


class ModelServer(ABC):
    """One model server, and the client for it, made at the first turn and kept.

    `own_url` is the provider's address, which requires a key; `reply` parses a response.
    """

    own_url: ClassVar[str]
    reply_path: ClassVar[str]
    models_path: ClassVar[str]
    models_query: ClassVar[str] = ""
    reply: ClassVar[type[Reply]]
    tool = None
    has_modes = False
    takes_mcp_servers = False

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
        self._offer = CachedOffer(self._list_models, self._name)

    @abstractmethod
    def _headers(self, key: Key) -> dict[str, str]: ...

    @abstractmethod
    def _turn(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """The events of `turn`. Raises `Failed`."""

    async def run(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event, None]:  # noqa: ARG002 - no tools, so no permissions
        try:
            async with aclosing(self._turn(turn)) as events:
                async for event in events:
                    yield event
        except Failed as failed:
            yield Done(await self._with_likely_model(failed, turn.model or self._config.model))
        except ImportError:
            yield Done(Failure("missing", RestartNeeded().message))
        except Exception as error:
            # Without its text: an error about a header quotes the header.
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s while %s answered\n%s", type(error).__name__, self._name, trace)
            yield Done(Failure("crashed", f"the turn with {self._name} failed; the daemon's log has more"))

    async def probe(self) -> Health:
        try:
            key = await self._key()
        except Failed as failed:
            return Health("needs_auth", failed.failure.message)
        if not self._local:
            known = "the key is there" if key else "no key is configured"
            return Health("ready", f"{known}; {self._name} is first asked by a turn")
        try:
            status = await _status_of(self._url, self._url.path + self.models_path, self._headers(key))
        except OSError as error:
            silent = isinstance(error, TimeoutError)
            why = "does not answer" if silent else f"cannot be reached{why_not_connected(error)}"
            return Health("unreachable", f"{self._name} {why}")
        if kind_of_status(status) == "needs_auth":
            return Health("needs_auth", f"{self._name} refuses the key: {described(self._config)}")
        if status >= 500:
            return Health("unreachable", f"{self._name} answers {status}")
        return Health("ready", f"{self._name} answers")

    async def models(self) -> ModelOffer:
        try:
            return await self._offer.get()
        except ImportError:
            return ModelOffer(detail=RestartNeeded().message)

    async def aclose(self) -> None:
        await self._offer.aclose()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _list_models(self) -> ModelOffer:
        """Raises `Failed`, and ImportError."""
        key = await self._key()
        session = await self._connected()
        import aiohttp

        try:
            async with session.get(
                self._base_url + self.models_path + self.models_query,
                headers=self._headers(key) | {"accept": "application/json"},
                proxy=self._proxy(),
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    if kind_of_status(response.status) == "needs_auth":
                        raise self._key_refused(response.status)
                    raise Failed("refused", f"{self._name} does not list its models: {response.status}")
                answer = bytearray()
                await _read_into(answer, response, MOST_BYTES)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._no_answer(error) from None
        if len(answer) > MOST_BYTES:
            raise Failed("refused", f"{self._name}'s list of models is longer than {MOST_BYTES >> 20} MiB")
        # In a thread: a long list takes some hundredths of a second.
        return await asyncio.to_thread(listed, bytes(answer), self._name)

    async def _with_likely_model(self, failed: Failed, model: str) -> Failure:
        """The failure, with models of similar names where the server does not know `model`."""
        failure = failed.failure
        if failed.status != 404 and not (failed.status in {400, 422} and model in failed.words):
            return failure
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LIKELY_WITHIN):
                meant = await asyncio.to_thread(likely_meant, model, await self.models())
                if meant:
                    return Failure(failure.kind, f"{failure.message.rstrip('?')}; {meant}")
        return failure

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
                data=encode(body),
                proxy=self._proxy(),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._no_answer(error) from None
        if response.ok and not 300 <= response.status < 400:
            return response
        async with response:
            raise await self._declined(response, key, body["model"])

    def _no_answer(self, error: Exception) -> Failed:
        import aiohttp

        kind: FailureKind = "network"
        match error:
            case aiohttp.InvalidURL() | ValueError():
                kind, message = "refused", "base_url is not an address"
            case aiohttp.ConnectionTimeoutError():
                message = f"{self._name} cannot be reached: no answer"
            case TimeoutError():
                # No retry: the server may already be generating, and would bill twice.
                kind, message = "timeout", self._silent()
            case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
                message = f"the proxy to {self._name} refuses"
            case aiohttp.ClientConnectorError() | aiohttp.ClientSSLError():
                message = f"{self._name} cannot be reached{why_not_connected(error)}"
            case aiohttp.ClientResponseError():
                kind, message = "crashed", f"{self._name} does not speak HTTP: is base_url right?"
            case _:
                # A kept connection that the server closes as we write to it ends here too.
                message = f"{self._name} closed the connection without a response"
        return Failed(kind, message, again=kind == "network")

    async def _declined(self, response: aiohttp.ClientResponse, key: Key, model: str) -> Failed:
        status = response.status
        kind = kind_of_status(status)
        if kind == "needs_auth":
            return self._key_refused(status)
        if status < 400:
            # Not followed: the key was meant for this address.
            return Failed("refused", f"{self._name} redirects ({status}): correct base_url")
        words = one_line(key.without_key(words_in(await _error_body(response))))
        message = f"{self._name} answers {status}" + (f": {words}" if words else "")
        if status == 404 and not words:
            message += f": is base_url right, and is there a model {model}?"
        wait = seconds_of(response.headers.get("retry-after"))
        if wait is not None and wait > LONGEST_WAIT:
            return Failed(kind, f"{message}; it wants to be asked again in {wait:.0f} s")
        again = status in (408, 429) or status >= 500
        return Failed(kind, message, again=again, wait=wait, status=status, words=words)

    def _key_refused(self, status: int) -> Failed:
        # Without the server's words, which often quote the key.
        return Failed("needs_auth", f"{self._name} refuses the key ({status}): {described(self._config)}")

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
            what = "the proxy that the daemon's environment names cannot be used"
            raise Failed("refused", f"{what}: expected http:// or https://")
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


async def _error_body(response: aiohttp.ClientResponse) -> str:
    import aiohttp

    body = bytearray()
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_ERROR_WITHIN):
            await _read_into(body, response, _ERROR_BYTES)
    return body.decode(errors="replace")


async def _read_into(body: bytearray, response: aiohttp.ClientResponse, most: int) -> None:
    """Read to the end, or until there is more than `most`."""
    while len(body) <= most and (piece := await response.content.readany()):
        body += piece


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def _status_of(url: SplitResult, path: str, headers: Mapping[str, str]) -> int:
    """The HTTP status of a GET, within two seconds. Raises `OSError` (`TimeoutError` is one).

    Written by hand: a probe must not cost an idle daemon the 15 MiB of the client.
    """
    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)
    host = url.netloc.rpartition("@")[2]
    lines = [f"GET {path} HTTP/1.1", f"host: {host}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    async with asyncio.timeout(_PROBE_WITHIN):
        reader, writer = await asyncio.open_connection(url.hostname, port, ssl=secure or None)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode())
            answer = _STATUS_LINE.match(await reader.readline())
        except ValueError:  # the line is too long
            answer = None
        finally:
            writer.transport.abort()
    if answer is None:
        raise OSError("it does not speak HTTP")
    return int(answer[1])
