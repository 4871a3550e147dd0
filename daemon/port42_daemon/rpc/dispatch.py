"""JSON-RPC 2.0: from a line to the handler's typed request, and from its result back to a line.

The only importer of jsonrpcserver. Its synchronous dispatcher routes every request; a handler that
has to wait returns an awaitable, which is settled here, because the library's asynchronous one
gathers every batch without a bound and costs a task even where nothing waits (docs/decisions/0002).
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from inspect import Signature, isawaitable, signature
from time import perf_counter_ns
from typing import Any

from port42_daemon.events import Peer
from port42_daemon.rpc.jsonrpc import Error, Left, Result, Success, dispatch_to_response
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.settings import BATCH_AT_ONCE, BATCH_LIMIT
from port42_protocol import codec
from port42_protocol.errors import BatchTooLarge, InternalError, InvalidRequest, MethodNotFound, RpcError
from port42_protocol.methods import METHODS, Method

log = logging.getLogger(__name__)

Answer = bytes | None
"""One line without its newline; None where the specification wants silence."""

_LIBRARY_FAILED = -32000
"""What jsonrpcserver answers when it breaks itself; none of our own errors has this code."""


class _AnyArguments(Signature):
    """A signature that everything fits: the codec checks the params, and says more about them.

    Without it the library works out and binds a signature at every call (13 µs).
    """

    def bind(self, /, *args: Any, **kwargs: Any) -> Any:
        """Find nothing wrong."""


class _Call:
    """One request on its way: who asked and when, what its handler still has to do, what went wrong."""

    __slots__ = ("_began", "_traffic", "error", "fault", "method", "peer", "waiting")

    def __init__(self, peer: Peer, traffic: Traffic, began: int) -> None:
        self.peer = peer
        self.waiting: Awaitable[Any] | None = None
        self.fault = ""
        self.method: str | None = None
        self.error: RpcError | None = None
        self._traffic = traffic
        self._began = began

    def failed(self, error: Exception) -> RpcError:
        """What is answered instead of a result; a bug of ours is logged under a new error id, not sent."""
        if not isinstance(error, RpcError):
            error_id = secrets.token_hex(4)
            log.error("internal error %s", error_id, exc_info=error)
            error = InternalError(error_id)
            self._traffic.failed(self.method, error)
        self.error = error
        return error

    def encoded(self, response: Any) -> Answer:
        """The response as it travels. With this the request is over, and counted."""
        answer = None if response is None else self._encode(response)
        self._traffic.answered(self.method, perf_counter_ns() - self._began, self.error)
        return answer

    def _encode(self, response: Any) -> bytes:
        try:
            return codec.encode(response)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return codec.encode(_response(self.failed(error), response["id"]))


class Dispatcher:
    """Answers lines. `handlers` are objects whose methods have the names in the table.

    Raises LookupError when a method of the table has no handler or two: at the start, not at a call.
    """

    def __init__(self, traffic: Traffic, *handlers: object) -> None:
        self._traffic = traffic
        self._methods = {row.name: _adapt(row, _find(row, handlers)) for row in METHODS.values()}

    def answer(self, line: bytes, peer: Peer) -> Answer | Awaitable[Answer]:
        """The response to one line, or an awaitable of it. Nothing is ever raised."""
        began = perf_counter_ns()
        try:
            value = codec.decode_json(line)
        except RpcError as error:
            return self._refused(error)
        if isinstance(value, list):
            if not value:
                return self._refused(InvalidRequest("an empty batch"))
            if len(value) > BATCH_LIMIT:
                return self._refused(BatchTooLarge(len(value), BATCH_LIMIT))
            return self._answer_batch(value, peer)
        call = _Call(peer, self._traffic, began)
        response = self._answer_one(value, call)
        if response is None or isinstance(response, dict):
            return call.encoded(response)
        return _encoded(call, response)

    def _refused(self, error: RpcError) -> Answer:
        """The answer to a line that holds no request."""
        self._traffic.refused(error)
        return codec.encode(_response(error, None))

    def _answer_one(self, item: Any, call: _Call) -> Any:
        """A response object, None, or an awaitable of either."""
        # A dict or None: `item` is not a list, so neither is what comes back. With our own
        # post_process, because the library's goes through typing.cast three times (4 µs).
        response: Any = dispatch_to_response(
            request=item,
            methods=self._methods,
            context=call,
            deserializer=_as_it_is,
            validator=self._validate_for(call),
            post_process=_plain,
        )
        if call.waiting is not None:
            return self._settle(call.waiting, response, call)
        if response is not None and "error" in response:
            _explain(response, call, item)
        return response

    def _validate_for(self, call: _Call) -> Callable[[Any], Any]:
        def validate(item: Any) -> Any:
            call.fault = _fault(item)
            if call.fault:
                raise ValueError(call.fault)
            return item

        return validate

    async def _settle(self, waiting: Awaitable[Any], response: dict[str, Any] | None, call: _Call) -> Any:
        """Wait for the handler; a notification's outcome is nobody's business but the log's."""
        self._traffic.requests += 1
        try:
            result = await waiting
        except Exception as error:
            failed = call.failed(error)
            return None if response is None else _response(failed, response["id"])
        finally:
            self._traffic.requests -= 1
        if response is not None:
            response["result"] = result
        return response

    async def _answer_batch(self, items: list[Any], peer: Peer) -> Answer:
        """The items' answers in their order; at most `BATCH_AT_ONCE` under way."""
        places = asyncio.Semaphore(BATCH_AT_ONCE)

        async def answer(item: Any) -> bytes | None:
            async with places:
                call = _Call(peer, self._traffic, perf_counter_ns())
                response = self._answer_one(item, call)
                return call.encoded(await response if isawaitable(response) else response)

        answers = await asyncio.gather(*map(answer, items))
        lines = [one for one in answers if one is not None]
        return b"[" + b",".join(lines) + b"]" if lines else None


def _find(row: Method, handlers: tuple[object, ...]) -> Callable[..., Any]:
    found = [getattr(one, row.handler) for one in handlers if hasattr(one, row.handler)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} handlers for {row.name}")
    handler: Callable[..., Any] = found[0]
    return handler


def _adapt(row: Method, handler: Callable[..., Any]) -> Callable[..., Result]:
    """The handler as jsonrpcserver calls it: untyped arguments in, Success or Error out.

    A handler with a second parameter is given the peer, too: it streams, or wants to know of its end.
    """
    wants_peer = len(signature(handler).parameters) == 2

    name = row.name

    def call(context: _Call, /, *args: Any, **kwargs: Any) -> Result:
        context.method = name
        try:
            params: Any = codec.decode_params(row.params, kwargs or args)
            result = handler(params, context.peer) if wants_peer else handler(params)
        except Exception as error:  # a refusal, or a bug of ours
            failed = context.failed(error)
            return Error(failed.code, failed.message, failed.data)
        if isinstance(result, row.result):
            return Success(result)
        context.waiting = result
        return Success(None)

    call.__signature__ = _AnyArguments()  # type: ignore[attr-defined]  # PEP 362: any callable may have one
    return call


def _plain(response: Any) -> dict[str, Any]:
    """The library's answer as a response object. Every error has data, or `_explain` gives it some."""
    if isinstance(response, Left):
        code, message, data, identity = response._error
        return {
            "jsonrpc": "2.0",
            "error": {"code": code, "message": message, "data": data},
            "id": identity,
        }
    result, identity = response._value
    return {"jsonrpc": "2.0", "result": result, "id": identity}


def _fault(item: Any) -> str:
    """What keeps `item` from being a request object (JSON-RPC 2.0, section 4), or nothing."""
    if not isinstance(item, Mapping):
        return "a request is an object"
    if item.get("jsonrpc") != "2.0":
        return 'jsonrpc: expected "2.0"'
    if not isinstance(item.get("method"), str):
        return "method: expected text"
    if not _is_id(item.get("id")):
        return "id: expected text, a whole number of 64 bits or null"
    if not isinstance(item.get("params", {}), dict | list):
        return "params: expected an object or an array"
    return ""


def _is_id(value: Any) -> bool:
    if isinstance(value, int):  # a bool is one, too
        return not isinstance(value, bool) and -(2**63) <= value < 2**64
    return value is None or isinstance(value, str)


def _explain(response: dict[str, Any], call: _Call, item: Any) -> None:
    """Put our words and data where the library answered by itself."""
    code = response["error"]["code"]
    if code == InvalidRequest.code:
        response["error"] = _error(call.failed(InvalidRequest(call.fault)))
    elif code == MethodNotFound.code:
        name = item["method"][:64]  # comparing a name of megabytes would hold the loop
        near = difflib.get_close_matches(name, METHODS, n=3)
        response["error"] = _error(call.failed(MethodNotFound(name, near)))
    elif code == _LIBRARY_FAILED:
        # Its data is the text of an exception: that is for the log, not for the peer.
        response["error"] = _error(call.failed(RuntimeError(response["error"].get("data"))))


def _response(error: RpcError, identity: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": _error(error), "id": identity}


def _error(error: RpcError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "data": error.data}


async def _encoded(call: _Call, response: Awaitable[Any]) -> Answer:
    return call.encoded(await response)


def _as_it_is(value: Any) -> Any:
    return value
