"""Hypothesis strategies for the values of the protocol, built from its types."""

import dataclasses
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import settings
from hypothesis import strategies as st

from port42_protocol.messages.records import RECORDS, Record
from port42_protocol.messages.turns import McpServer
from port42_protocol.methods import METHODS

# No deadline, no slowness check: a busy machine is not a wrong codec.
PROPERTY = settings(max_examples=40)

EACH = settings(PROPERTY, max_examples=15)
"""For each of the kinds, of which there are dozens made of the same few types."""

REQUESTS = [row.params for row in METHODS.values()]
RESULTS = sorted({row.result for row in METHODS.values()}, key=lambda one: one.__name__)


def named(kind: type) -> str:
    return kind.__name__


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
PLAIN = {
    Any: JSON,
    NoneType: st.none(),
    bool: st.booleans(),
    int: st.integers(0, 2**53),
    float: FINITE,
    msgspec.UnsetType: st.just(msgspec.UNSET),
    str: TEXT,
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Every value that a field of this type takes."""
    if hint in PLAIN:
        return PLAIN[hint]
    if hint is Record:
        return st.one_of(*map(instances, RECORDS.values()))
    if dataclasses.is_dataclass(hint) or hasattr(hint, "__struct_fields__"):
        return instances(hint)
    inner = get_args(hint)
    made: dict[Any, Callable[[], st.SearchStrategy[Any]]] = {
        Annotated: lambda: meant(inner[0], hint.__metadata__[0]),
        Literal: lambda: st.sampled_from(inner),
        dict: lambda: st.dictionaries(values(inner[0]), values(inner[1]), max_size=3),
        list: lambda: st.lists(values(inner[0]), max_size=3),
        tuple: lambda: st.lists(values(inner[0]), max_size=3).map(tuple),
    }
    return made.get(get_origin(hint), lambda: st.one_of(*map(values, inner)))()


def meant(plain: type, meta: msgspec.Meta) -> st.SearchStrategy[Any]:
    """Every value of a plain type that its `Meta` lets through."""
    if plain is int:
        return st.integers(meta.ge, meta.le)
    if get_origin(plain) is tuple:
        return st.lists(values(get_args(plain)[0]), max_size=min(meta.max_length or 4, 4)).map(tuple)
    if get_origin(plain) is dict:
        return st.dictionaries(*map(values, get_args(plain)), max_size=3)
    characters = st.characters(codec="utf-8")
    if meta.pattern:
        return st.from_regex(meta.pattern, alphabet=characters)
    return st.text(characters, min_size=meta.min_length or 0, max_size=meta.max_length or 40)


def instances(kind: type) -> st.SearchStrategy[Any]:
    fields = {name: values(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
    if kind is McpServer:  # a program or an address
        program = {"type": st.just("stdio"), "command": TEXT, "url": st.none()}
        address = {"type": st.sampled_from(["http", "sse"]), "command": st.none(), "url": TEXT}
        return st.one_of(st.builds(kind, **fields | program), st.builds(kind, **fields | address))
    return st.builds(kind, **fields)
