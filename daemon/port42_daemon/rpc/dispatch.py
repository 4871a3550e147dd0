"""JSON-RPC 2.0: from a JSON text to the handler's typed request, and from its result back to one.

jsonrpcserver's synchronous dispatcher routes every request; a handler that has to wait returns an awaitable,
which is awaited here: the library's asynchronous dispatcher has no bound for a batch, and costs a task even
where nothing waits (docs/decisions/0002).
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from inspect import Signature
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple

import msgspec

from port42_daemon.events import Peer
from port42_daemon.rpc.cancellation import Cancellation, RequestsUnderWay
from port42_daemon.rpc.jsonrpc import NOID, Error, Left, Request, Result, Success, dispatch_request
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.settings import BATCH_AT_ONCE, BATCH_LIMIT, PAGE_BYTES
from port42_protocol import codec
from port42_protocol.errors import (
    BatchTooLarge,
    InternalError,
    InvalidRequest,
    MethodNotFound,
    Overloaded,
    ReadOnly,
    RestartNeeded,
    RpcError,
)
from port42_protocol.messages.turns import Subscribe
from port42_protocol.methods import METHODS, Method

log = logging.getLogger(__name__)

_OWN_FOLDERS = (str(Path(__file__).parents[1]), str(Path(codec.__file__).parent))

Answer = bytes | None  # one JSON text; None where the specification requires no response


class _AnyArguments(Signature):
    """A signature that accepts anything, as the codec validates the params.

    Without it the library works out and binds a signature at every call (13 µs).
    """

    def bind(self, /, *args: Any, **kwargs: Any) -> Any:
        """No arguments are bound."""


class _Call(msgspec.Struct):
    """One request in progress. `pending` is the rest of its handler's work."""

    peer: Peer
    id: Any
    started_at: int
    method: str | None = None
    pending: Awaitable[Any] | None = None
    cancellation: Cancellation | None = None
    error: RpcError | None = None


class Pending(NamedTuple):
    """The answer to a request whose handler has to wait. `weight`: its bytes at most, 0 for little."""

    answer: Awaitable[Answer]
    weight: int


_WEIGHTS = {
    "get_session": PAGE_BYTES,
    "export_session": PAGE_BYTES,
    "session_tree": 2 * 1024 * 1024,
    "list_sessions": 512 * 1024,
    "list_trash": 512 * 1024,
    "search_sessions": 512 * 1024,
    "rpc.discover": 256 * 1024,
}
"""What an answer may take; the others are small."""
_LARGE = 1024 * 1024  # bytes of an answer of which a batch has one made at a time
_BATCH_BYTES = 16 * 1024 * 1024  # of all answers to a batch; what is asked for behind them is not done


class Dispatcher:
    """Answers requests. `handlers` are objects whose methods have the names in the table.

    With `read_only` it refuses the methods that are not. Raises LookupError when a method of the table has no
    handler or two: at the start, not at a call.
    """

    def __init__(self, traffic: Traffic, *handlers: object, read_only: bool = False) -> None:
        self._traffic = traffic
        self._under_way = RequestsUnderWay()
        self._methods = {
            row.name: self._adapt(row, _find(row, (*handlers, self._under_way)))
            if row.read_only or not read_only
            else self._refusing(row)
            for row in METHODS.values()
        }

    def answer(self, text: bytes, peer: Peer) -> Answer | Pending:
        """The response to one JSON text, now or pending. Nothing is ever raised."""
        started_at = perf_counter_ns()
        try:
            value = codec.decode_json(text)
        except RpcError as error:
            return self._refuse(error)
        if not isinstance(value, list):
            return self._answer_one(value, peer, started_at)
        if not value:
            return self._refuse(InvalidRequest("an empty batch"))
        if len(value) > BATCH_LIMIT:
            return self._refuse(BatchTooLarge(len(value), BATCH_LIMIT))
        weight = sum(_WEIGHTS.get(_method_of(item), 0) for item in value)
        return Pending(self._answer_batch(value, peer), min(weight, _BATCH_BYTES))

    def _refuse(self, error: RpcError, request_id: Any = None) -> bytes:
        self._traffic.refused(error)
        return error_response(error, request_id)

    def _answer_one(self, item: Any, peer: Peer, started_at: int) -> Answer | Pending:
        try:
            request = _request(item)
        except InvalidRequest as error:
            return self._refuse(error, _readable_id(item))
        call = _Call(peer, request.id, started_at)
        result = dispatch_request(self._methods, call, request)[1]
        if call.pending is not None:
            if call.cancellation is not None:
                self._under_way.begin(peer, call.id, call.cancellation)
            return Pending(self._settle(call, call.pending), _WEIGHTS.get(request.method, 0))
        if not isinstance(result, Left):
            return self._finish(call, result._value.result)
        if call.error is None:
            self._explain(call, request.method, result._error)
        return self._finish(call, None)

    def _explain(self, call: _Call, method: str, error: Any) -> None:
        """Port42's error for one that the library raised; details of bugs are only logged."""
        if error.code == MethodNotFound.code:
            name = method[:64]  # comparing a name of megabytes would hold the loop
            self._fail(call, MethodNotFound(name, difflib.get_close_matches(name, METHODS, n=3)))
        else:
            self._fail(call, RuntimeError(error.data))

    async def _settle(self, call: _Call, pending: Awaitable[Any]) -> Answer:
        self._traffic.requests += 1
        result = None
        try:
            result = await pending
        except Exception as error:
            self._fail(call, error)
        finally:
            self._traffic.requests -= 1
            if call.cancellation is not None:
                self._under_way.end(call.peer, call.id, call.cancellation)
        return self._finish(call, result)

    def _fail(self, call: _Call, error: Exception) -> RpcError:
        """Count and log an error response; a bug is logged with an error id, and not sent."""
        if isinstance(error, ImportError) or _misses_own_file(error):
            log.error("port42's own files changed: a restart is needed", exc_info=error)
            error = RestartNeeded()
        if isinstance(error, MemoryError):
            log.error("no memory for %s", call.method)
            error = Overloaded("the system allows the daemon no more memory for this")
        if not isinstance(error, RpcError):
            error_id = secrets.token_hex(4)
            log.error("internal error %s", error_id, exc_info=error)
            error = InternalError(error_id)
            self._traffic.failed(call.method, error)
        call.error = error
        return error

    def _finish(self, call: _Call, result: Any) -> Answer:
        """The response; None for a notification, whose outcome is only counted and logged."""
        answer = None
        if call.error is None and call.id is not NOID:
            try:
                answer = codec.encode({"jsonrpc": "2.0", "result": result, "id": call.id})
            except (TypeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
                self._fail(call, error)
        if call.error is not None and call.id is not NOID:
            answer = error_response(call.error, call.id)
        self._traffic.answered(call.method, perf_counter_ns() - call.started_at, call.error)
        return answer

    async def _answer_batch(self, items: list[Any], peer: Peer) -> Answer:
        """The items' answers in their order; at most `BATCH_AT_ONCE` under way, and one of the large ones."""
        slots, large = asyncio.Semaphore(BATCH_AT_ONCE), asyncio.Lock()
        size = 0

        async def answer(item: Any) -> Answer:
            nonlocal size
            weight = _WEIGHTS.get(_method_of(item), 0)
            async with slots, large if weight > _LARGE else nullcontext():
                if weight and size > _BATCH_BYTES:
                    error = f"more than {_BATCH_BYTES:,} bytes of answers to one batch; send the rest again"
                    return self._refuse(Overloaded(error), _readable_id(item))
                response = self._answer_one(item, peer, perf_counter_ns())
                text = await response.answer if isinstance(response, Pending) else response
                size += len(text or b"")
                return text

        answers = [text for text in await asyncio.gather(*map(answer, items)) if text is not None]
        return b"[" + b",".join(answers) + b"]" if answers else None

    def _adapt(self, row: Method, handler: Callable[..., Any]) -> Callable[..., Result]:
        """The handler as jsonrpcserver calls it: untyped arguments in, Success or Error out.

        A handler with the parameter `peer` gets that, too, to stream to it or to be told of its end; one with
        `cancellation` ends early where that is requested.
        """
        # Not `signature`, which takes 30 µs, for a hundred methods at each start.
        parameters = handler.__annotations__
        wants_peer, wants_cancellation = "peer" in parameters, "cancellation" in parameters
        name, params_type, result_type = row.name, row.params, row.result
        may_notify = params_type is Subscribe or hasattr(params_type, "stream")

        def call(context: _Call, /, *args: Any, **kwargs: Any) -> Result:
            context.method = name
            try:
                params: Any = codec.decode_params(params_type, kwargs or args)
                if may_notify:
                    _refuse_unwanted(params, context.peer)
                given: dict[str, Any] = {"peer": context.peer} if wants_peer else {}
                if wants_cancellation:
                    given["cancellation"] = context.cancellation = Cancellation()
                result = handler(params, **given)
            except Exception as error:  # a refusal, or a bug of ours
                failed = self._fail(context, error)
                return Error(failed.code, failed.message)
            if not isinstance(result, result_type):
                if row.read_only:
                    context.cancellation = Cancellation()
                    result = context.cancellation.wait(result)
                context.pending = result
            return Success(result)

        # PEP 362: any callable may have one.
        call.__signature__ = _AnyArguments()  # type: ignore[attr-defined]
        return call

    def _refusing(self, row: Method) -> Callable[..., Result]:
        """What stands for a method that is not served here."""

        def refuse(context: _Call, /, *_: Any, **__: Any) -> Result:
            context.method = row.name
            failed = self._fail(context, ReadOnly(row.name))
            return Error(failed.code, failed.message)

        # PEP 362: any callable may have one.
        refuse.__signature__ = _AnyArguments()  # type: ignore[attr-defined]
        return refuse


def _misses_own_file(error: Exception) -> bool:
    """Whether a file is gone that is read when it is needed, such as the examples of methods."""
    return isinstance(error, FileNotFoundError) and str(error.filename).startswith(_OWN_FOLDERS)


def _find(row: Method, handlers: tuple[object, ...]) -> Callable[..., Any]:
    name = row.handler
    methods = [getattr(handler, name) for handler in handlers if hasattr(handler, name)]
    if len(methods) != 1:
        raise LookupError(f"{len(methods)} handlers for {row.name}")
    method: Callable[..., Any] = methods[0]
    return method


def _refuse_unwanted(params: Any, peer: Peer) -> None:
    """Raises `InvalidRequest` for what would send notifications to a peer that wants none."""
    if not peer.notifications and (isinstance(params, Subscribe) or params.stream):
        raise InvalidRequest(
            "this connection said in `hello` that it takes no notifications:"
            " subscribe and `stream` need `notifications` true"
        )


def _method_of(item: Any) -> str:
    method = item.get("method") if isinstance(item, Mapping) else None
    return method if isinstance(method, str) else ""


def _request(item: Any) -> Request:
    """A request object (JSON-RPC 2.0, section 4); ``"params": null`` is none. Raises `InvalidRequest`."""
    if not isinstance(item, Mapping):
        raise InvalidRequest("a request is an object")
    if item.get("jsonrpc") != "2.0":
        raise InvalidRequest('jsonrpc: expected "2.0"')
    method, params = item.get("method"), item.get("params")
    if not isinstance(method, str):
        raise InvalidRequest("method: expected text")
    if not _is_id(item.get("id")):
        raise InvalidRequest("id: expected text, a whole number of 64 bits or null")
    if params is None:
        params = []
    elif not isinstance(params, dict | list):
        raise InvalidRequest("params: expected an object or an array")
    return Request(method, params, item.get("id", NOID))


def _is_id(value: Any) -> bool:
    if isinstance(value, int):  # a bool is one, too
        return not isinstance(value, bool) and -(2**63) <= value < 2**64
    return value is None or isinstance(value, str)


def _readable_id(item: Any) -> Any:
    request_id = item.get("id") if isinstance(item, Mapping) else None
    return request_id if _is_id(request_id) else None


def error_response(error: RpcError, request_id: Any) -> bytes:
    body = {"code": error.code, "message": error.message, "data": error.data}
    return codec.encode({"jsonrpc": "2.0", "error": body, "id": request_id})
