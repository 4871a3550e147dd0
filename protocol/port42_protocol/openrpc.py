"""The OpenRPC document, derived from the method table, its types, and the package's data.

The data are ``examples/``, what each method is sent and answers, and ``since.json``, the version in which
each method, parameter and field appeared. `make golden` adds what is new to the latter.
"""

from __future__ import annotations

import dataclasses
import inspect
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from port42_protocol import PROTOCOL_VERSION
from port42_protocol.errors import STANDARD, RpcError
from port42_protocol.messages.daemon import OpenRpc
from port42_protocol.messages.records import RECORDS, Record
from port42_protocol.methods import DEPRECATED, METHODS, NOTIFICATIONS, Method

DATA = Path(__file__).parent
_REF = "#/components/schemas/{name}"


def _type_name(notification: str) -> str:
    """``session_event`` → ``SessionEvent``."""
    return "".join(map(str.capitalize, notification.split("_")))


_DESCRIPTION = (
    "Sessions of AI agents, kept apart, durable and resumable. The daemon notifies of "
    + ", ".join(f"`{name}` (its params: {_type_name(name)})" for name in NOTIFICATIONS)
    + ". The socket for reading serves the methods with `x-read-only` true. `x-since` is the version of"
    " port42d in which a method, a parameter or a type appeared, and a field that its type did not have from"
    " the beginning. `x-error-examples` has requests that are refused."
)
"""OpenRPC has no field for notifications, nor for the example of an error."""


@cache
def document() -> OpenRpc:
    """The result of `rpc.discover`. Source: the OpenRPC specification 1.3.2.

    The first call reads the package's data and takes some 70 ms of CPU time, so it is made in a thread.
    """
    since = versions()
    schemas = _schemas(since)
    errors = {error.__name__: _error(error) for row in METHODS.values() for error in row.errors}
    errors |= {error.__name__: _error(error) for error in STANDARD}
    return OpenRpc(
        openrpc="1.3.2",
        info={
            "title": "Port42",
            "version": str(PROTOCOL_VERSION),
            "description": _DESCRIPTION,
        },
        methods=[_method(row, since) for row in METHODS.values()],
        components={"schemas": schemas, "errors": errors},
    )


@cache
def versions() -> dict[str, str]:
    """By ``method``, ``method.parameter``, ``Type`` and ``Type.field``, the version in which it appeared."""
    history: dict[str, dict[str, list[str]]] = msgspec.json.decode((DATA / "since.json").read_bytes())
    since: dict[str, str] = {}
    for version, owners in history.items():
        for owner, fields in owners.items():
            since.setdefault(owner, version)
            since |= {f"{owner}.{field}": version for field in fields}
    return since


def fields() -> dict[str, list[str]]:
    """What `versions` must know: every method with its parameters, and every other type with its fields."""
    methods = {row.params.__name__: row.name for row in METHODS.values()}
    return {methods.get(name, name): list(schema["properties"]) for name, schema in _types().items()}


def _types() -> dict[str, Any]:
    """The JSON schema of each class of the protocol, by name."""
    schemas = msgspec.json.schema_components(_roots(), schema_hook=_record, ref_template=_REF)[1]
    for schema in schemas.values():
        _say_type_of_enums(schema)
    return schemas


def _say_type_of_enums(schema: Any) -> None:
    """msgspec leaves it out, and generators of code make ``any`` of what has no type."""
    if isinstance(schema, dict):
        if all(isinstance(value, str) for value in schema.get("enum", [0])):
            schema["type"] = "string"
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            _say_type_of_enums(part)


def _roots() -> list[Any]:
    types: list[Any] = [type_ for row in METHODS.values() for type_ in (row.params, row.result)]
    return [*types, *RECORDS.values(), *NOTIFICATIONS.values()]


def _schemas(since: dict[str, str]) -> dict[str, Any]:
    """The JSON schema of every type of the protocol, by name."""
    schemas = _types()
    methods = {row.params.__name__: row.name for row in METHODS.values()}
    for name, schema in schemas.items():
        # Python 3.13 removes the indentation of docstrings, older versions keep it.
        schema["description"] = inspect.cleandoc(schema["description"])
        for shape in schema["properties"].values():
            if shape.get("default") == ():
                shape["default"] = []  # as it travels
        _date(schema, methods.get(name, name), since)
    for role, type_ in RECORDS.items():
        # The role has a default only where a record is made in Python.
        schemas[type_.__name__]["properties"]["role"] = {"enum": [role], "type": "string"}
        schemas[type_.__name__]["required"].append("role")
    refs = {role: _REF.format(name=type_.__name__) for role, type_ in RECORDS.items()}
    schemas["Record"] = {
        "title": "Record",
        "description": "One line of a session: a message, or an event.",
        "anyOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "role", "mapping": refs},
    }
    roots = msgspec.json.schema_components(_roots(), schema_hook=_record, ref_template=_REF)[0]
    for name, root in zip(NOTIFICATIONS, roots[-len(NOTIFICATIONS) :], strict=True):
        schemas[_type_name(name)] = {
            "title": _type_name(name),
            "description": f"Params of `{name}`.",
            **root,
            "examples": [line["params"] for line in _lines(name)],
        }
    return schemas


def _date(schema: dict[str, Any], name: str, since: dict[str, str]) -> None:
    """Add `x-since` to a type, and to its fields that are younger."""
    schema["x-since"] = since[name]
    for field, shape in schema["properties"].items():
        if (version := since[f"{name}.{field}"]) != since[name]:
            shape["x-since"] = version
        if f"{name}.{field}" in DEPRECATED:
            shape["deprecated"] = True


def _record(type_: type) -> dict[str, Any]:
    """msgspec's hook for the type `Record`, which it does not know."""
    if type_ is Record:
        return {"$ref": _REF.format(name="Record")}
    raise NotImplementedError(type_)  # how a hook of msgspec declines a type


def _method(row: Method, since: dict[str, str]) -> dict[str, Any]:
    answered, refused = _examples(row)
    return {
        "name": row.name,
        "summary": (row.params.__doc__ or "").split("\n")[0],
        "paramStructure": "either",
        "params": _params(row, since),
        "result": {
            "name": row.result.__name__,
            "schema": {"$ref": _REF.format(name=row.result.__name__)},
        },
        "errors": [{"$ref": f"#/components/errors/{error.__name__}"} for error in row.errors],
        "examples": answered,
        "deprecated": row.name in DEPRECATED,
        "x-read-only": row.read_only,
        "x-since": since[row.name],
        "x-error-examples": refused,
    }


def _params(row: Method, since: dict[str, str]) -> list[dict[str, Any]]:
    hints = get_type_hints(row.params, include_extras=True)
    kinds = [hints[field.name] for field in dataclasses.fields(row.params)]
    schemas = list(msgspec.json.schema_components(kinds, ref_template=_REF)[0])
    _say_type_of_enums(schemas)
    return [
        {
            "name": field.name,
            "required": field.default is dataclasses.MISSING,
            "schema": schema,
            "deprecated": f"{row.name}.{field.name}" in DEPRECATED,
            "x-since": since[f"{row.name}.{field.name}"],
        }
        for field, schema in zip(dataclasses.fields(row.params), schemas, strict=True)
    ]


def _examples(row: Method) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Requests with their results, as OpenRPC's example pairings, and requests with their errors."""
    fields = [field.name for field in dataclasses.fields(row.params)]
    answered, refused = [], []
    lines = _lines(row.handler)
    for request, response in zip(lines[::2], lines[1::2], strict=True):
        params = request.get("params", {})
        if isinstance(params, list):
            # What is too much has no name.
            params = dict(zip([*fields, *map(str, range(len(fields), len(params)))], params, strict=False))
        example: dict[str, Any] = {
            "name": f"{row.name} {request['id']}",
            "params": [{"name": name, "value": value} for name, value in params.items()],
        }
        if "result" in response:
            value = response["result"]
            answered.append(example | {"result": {"name": row.result.__name__, "value": value}})
        else:
            refused.append(example | {"error": response["error"]})
    return answered, refused


def _lines(name: str) -> list[dict[str, Any]]:
    """The lines of a file of examples."""
    text = (DATA / "examples" / f"{name}.jsonl").read_bytes()
    return [msgspec.json.decode(line) for line in text.splitlines()]


def _error(error: type[RpcError]) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": (error.__doc__ or "").split("\n")[0],
        "data": {"kind": error.kind, "retryable": error.retryable},
    }
