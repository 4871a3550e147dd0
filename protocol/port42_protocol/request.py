"""What a request class says about itself: the method it asks, and the result it gets."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Request(Generic[R]):
    """The base of every method's params. `R` is its result, as `methods` pairs them; the tests compare.

    So a client that has a request need not import the table, and with it every dataclass.
    """

    __slots__ = ()


def method_of(request: type[Request[Any]]) -> str:
    """`GetLastSession` asks ``get_last_session``; the tests hold every row of `methods` to it."""
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in request.__name__)
    name = words.removeprefix("_")
    # JSON-RPC 2.0 keeps ``rpc.`` for its extensions, and OpenRPC's is the one we have.
    return f"rpc.{name}" if name == "discover" else name


def result_of(request: type[Request[R]]) -> type[R]:
    """The class in ``class GetLastSession(Request[Summary])``."""
    result: type[R] = request.__orig_bases__[0].__args__[0]  # type: ignore[attr-defined]
    return result
