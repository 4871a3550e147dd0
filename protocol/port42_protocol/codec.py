"""JSON to typed values and back.

`decode_json` and `decode_params` raise subclasses of `RpcError` only.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Struct

from port42_protocol import encoding
from port42_protocol.counting import count
from port42_protocol.errors import InvalidParams, InvalidRequest, ParseError
from port42_protocol.messages.records import dec_hook
from port42_protocol.messages.types import AgentName, prepared

NESTING_LIMIT = 64
"""Maximum depth of nested arrays and objects in a request (design, section 4)."""

T = TypeVar("T")
_decoder = msgspec.json.Decoder()
# A pair of surrogates, half of a pair (the group), or any other escape, such as a backslash.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(u[dD][89a-fA-F][\da-fA-F]{2})|.)",
    re.DOTALL,
)
_AT_FIELD = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*)`$")


encode = encoding.encode


def to_plain(value: Any) -> Any:
    """A Struct or dataclass as dicts and lists or tuples, which `encode` writes as the same JSON."""
    return msgspec.to_builtins(value)


def decode_json(line: bytes) -> Any:
    """Plain values of one JSON text. Raises `ParseError`, or `InvalidRequest` when nested too deep."""
    try:
        value = _decoder.decode(line)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ParseError(f"not JSON: {error}") from None
    # Fewer brackets than the limit cannot nest deeper than it: most requests pay two counts, no walk.
    if line.count(b"[") + line.count(b"{") > NESTING_LIMIT and _depth(value) > NESTING_LIMIT:
        raise _too_deep()
    return value


def repaired(data: bytes | bytearray) -> str:
    """JSON with U+FFFD for each unpaired surrogate, and for bytes that are not UTF-8.

    Programs that count UTF-16, as JavaScript's do, cut a text in the middle of an emoji; RFC 8259, 8.2.
    """
    return _ESCAPE.sub(lambda match: "\\ufffd" if match[1] else match[0], data.decode("utf-8", "replace"))


def decode_params(kind: type[T], params: Mapping[str, Any] | Sequence[Any] | None) -> T:
    """The request dataclass `kind` from params by name or position. Raises `InvalidParams`."""
    shape = _shape(kind)  # type: ignore[arg-type]  # a class is hashable; typeshed cannot say so of type[T]
    if isinstance(params, dict) and not shape.parts and params.keys() <= shape.expected.keys():
        # Fast path: nearly all requests are valid. The rest of the function finds what to report.
        try:
            return msgspec.convert(params, kind)
        except msgspec.ValidationError:
            pass
    named = _by_name(shape, params)
    for name in shape.agents:
        value = named.get(name)
        if isinstance(value, str) and value.startswith("@"):
            named[name] = value[1:]
    for name in shape.required:
        # An empty agent, such as a script's unset variable, counts as missing.
        if named.get(name) is None or (named[name] == "" and name in shape.agents):
            raise InvalidParams.missing(name, shape.expected[name])
    for name, known in shape.parts.items():
        _check_parts(name, known, named.get(name))
    try:
        return msgspec.convert(named, kind)
    except msgspec.ValidationError as error:
        raise _invalid(shape, named, error) from None


def decode_result(kind: type[T], value: Any) -> T:
    """A result from plain values. Raises `msgspec.ValidationError` when they do not fit.

    Unknown fields are ignored, so that an older client can read a newer daemon's results.
    """
    return msgspec.convert(value, prepared(kind), dec_hook=dec_hook)


class _Shape(Struct, frozen=True):
    fields: tuple[str, ...]
    required: tuple[str, ...]
    agents: tuple[str, ...]
    expected: dict[str, str]
    parts: dict[str, tuple[str, ...]]
    """Fields that accept a list of objects, and the fields of those."""


@cache
def _shape(kind: type) -> _Shape:
    hints = get_type_hints(prepared(kind), include_extras=True)
    fields = dataclasses.fields(kind)
    return _Shape(
        fields=tuple(field.name for field in fields),
        required=tuple(field.name for field in fields if field.default is dataclasses.MISSING),
        agents=tuple(
            name for name, hint in hints.items() if hint == AgentName or AgentName in get_args(hint)
        ),
        expected={name: expectation(hint) for name, hint in hints.items()},
        parts={name: parts for name, hint in hints.items() if (parts := _parts(hint))},
    )


def _parts(hint: Any) -> tuple[str, ...]:
    """The fields of the Struct in ``list[Struct]``, optional or not."""
    for option in (hint, *get_args(hint)):
        inside = get_args(option)
        if getattr(option, "__origin__", None) is list and hasattr(inside[0], "__struct_fields__"):
            return tuple(inside[0].__struct_fields__)
    return ()


def _check_parts(name: str, known: tuple[str, ...], value: Any) -> None:
    """Refuse unknown fields of the objects in a list: msgspec ignores them."""
    for index, part in enumerate(value if isinstance(value, list | tuple) else ()):
        for key in part if isinstance(part, Mapping) else ():
            if key not in known:
                expected = "objects with " + ", ".join(known)
                raise InvalidParams.expecting(name, expected, got=f"{_shown(key)} in {name}[{index}]")


def expectation(hint: Any) -> str:
    """What a field accepts, for error messages."""
    if describing := [part.description for part in getattr(hint, "__metadata__", ()) if part.description]:
        return str(describing[0])
    plain = {bool: "true or false", dict: "an object", str: "text", int: "a whole number", float: "a number"}
    if (origin := getattr(hint, "__origin__", hint)) in plain:
        return str(plain[origin])
    if origin in {list, tuple}:
        return f"a list, each {expectation(get_args(hint)[0])}"
    if hasattr(hint, "__struct_fields__"):
        return "an object with " + ", ".join(hint.__struct_fields__)
    options = [part for part in get_args(hint) if part is not type(None)]
    if all(isinstance(option, str) for option in options):
        return "one of " + ", ".join(options)
    return " or ".join(expectation(option) for option in options)


def _by_name(shape: _Shape, params: Mapping[str, Any] | Sequence[Any] | None) -> dict[str, Any]:
    if params is None:
        return {}
    if isinstance(params, Mapping):
        for name in params:
            if name not in shape.expected:
                takes = ", ".join(shape.fields) or "no parameters"
                raise InvalidParams(
                    f"unknown parameter {_shown(name)}; this method takes {takes}",
                    field=name[:64],
                    expected=takes,
                )
        return dict(params)
    if len(params) > len(shape.fields):
        takes = f"at most {len(shape.fields)} positional parameters"
        raise InvalidParams(f"expected {takes}, got {len(params)}", field=None, expected=takes)
    return dict(zip(shape.fields, params, strict=False))


def _invalid(shape: _Shape, named: dict[str, Any], error: msgspec.ValidationError) -> InvalidParams:
    match = _AT_FIELD.search(str(error))
    name = re.split(r"[.\[]", match[1])[0] if match else ""
    if name not in shape.expected:
        return InvalidParams(str(error), field=None, expected="what the OpenRPC document says")
    return InvalidParams.expecting(name, shape.expected[name], got=_shown(named[name]))


def _shown(value: Any) -> str:
    """A value, shortened for an error message."""
    if isinstance(value, str) and len(value) > 80:
        return f"text of {count(len(value), 'character')}"
    text = encode(value).decode()
    return text if len(text) <= 120 else f"a {type(value).__name__} of {count(len(text), 'character')}"


def _depth(value: Any) -> int:
    """The nesting depth of arrays and objects, found without recursion."""
    depth, level = 0, [value]
    while level := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        level = [part for value in level for part in (value.values() if isinstance(value, dict) else value)]
    return depth


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"nested deeper than {NESTING_LIMIT} levels", limit=NESTING_LIMIT)
