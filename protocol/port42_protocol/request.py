"""The base of the request classes, and each one's method and result."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Request(Generic[R]):
    """The base of every method's params; `R` is its result, as in the table `methods` (a test compares them).

    So a client needs only its request's module, not the table with every dataclass.
    """

    __slots__ = ()


_NAMED_BY_OTHERS = {"discover": "rpc.discover", "cancel_request": "$/cancel"}
"""JSON-RPC 2.0 keeps ``rpc.`` for its extensions, and OpenRPC's is the one we have. In the Language Server
Protocol names of what is about the protocol itself begin with ``$/``."""


def handler_of(request: type[Request[Any]]) -> str:
    """`GetLastSession` → ``get_last_session``: the name of the Python method that handles it."""
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in request.__name__)
    return words.removeprefix("_")


def method_of(request: type[Request[Any]]) -> str:
    """The method's name on the wire. A test compares this with `methods`."""
    name = handler_of(request)
    return _NAMED_BY_OTHERS.get(name, name)


def result_of(request: type[Request[R]]) -> type[R]:
    """The class in ``class GetLastSession(Request[Summary])``."""
    result: type[R] = request.__orig_bases__[0].__args__[0]  # type: ignore[attr-defined]
    return result
