"""The base of the request classes, and each one's method and result."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Request(Generic[R]):
    """The base of every method's params; `R` is its result, as in the table `methods` (a test compares them).

    So a client needs only its request's module, not the table with every dataclass.
    """

    __slots__ = ()


def method_of(request: type[Request[Any]]) -> str:
    """`GetLastSession` → ``get_last_session``. A test compares this with `methods`."""
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in request.__name__)
    name = words.removeprefix("_")
    # JSON-RPC 2.0 keeps ``rpc.`` for its extensions, and OpenRPC's is the one we have.
    return f"rpc.{name}" if name == "discover" else name


def result_of(request: type[Request[R]]) -> type[R]:
    """The class in ``class GetLastSession(Request[Summary])``."""
    result: type[R] = request.__orig_bases__[0].__args__[0]  # type: ignore[attr-defined]
    return result
