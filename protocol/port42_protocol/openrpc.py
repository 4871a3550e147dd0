"""The OpenRPC document, derived from the method table and its types."""

from __future__ import annotations

import dataclasses
import inspect
from functools import cache
from typing import Any, get_type_hints

import msgspec

from port42_protocol import PROTOCOL_VERSION
from port42_protocol.errors import STANDARD, RpcError
from port42_protocol.messages.daemon import OpenRpc
from port42_protocol.messages.records import RECORDS, Record
from port42_protocol.methods import METHODS, NOTIFICATIONS, Method

_REF = "#/components/schemas/{name}"


def _type_name(notification: str) -> str:
    """``session_event`` → ``SessionEvent``."""
    return "".join(map(str.capitalize, notification.split("_")))


_DESCRIPTION = (
    "Sessions of AI agents, kept apart, durable and resumable. The daemon notifies of "
    + ", ".join(f"`{name}` (its params: {_type_name(name)})" for name in NOTIFICATIONS)
    + ". The socket for reading serves the methods with `x-read-only` true."
)
"""OpenRPC has no field for notifications."""


@cache  # building it takes 5 ms and would block the event loop each time
def document() -> OpenRpc:
    """The result of `rpc.discover`. Source: the OpenRPC specification 1.3.2."""
    schemas = _schemas()
    errors = {error.__name__: _error(error) for row in METHODS.values() for error in row.errors}
    errors |= {error.__name__: _error(error) for error in STANDARD}
    return OpenRpc(
        openrpc="1.3.2",
        info={
            "title": "Port42",
            "version": str(PROTOCOL_VERSION),
            "description": _DESCRIPTION,
        },
        methods=[_method(row) for row in METHODS.values()],
        components={"schemas": schemas, "errors": errors},
    )


def _schemas() -> dict[str, Any]:
    """The JSON schema of every type of the protocol, by name."""
    types = [type_ for row in METHODS.values() for type_ in (row.params, row.result)]
    types += [*RECORDS.values(), *NOTIFICATIONS.values()]
    roots, schemas = msgspec.json.schema_components(types, schema_hook=_record, ref_template=_REF)
    for schema in schemas.values():
        # Python 3.13 removes the indentation of docstrings, older versions keep it.
        schema["description"] = inspect.cleandoc(schema["description"])
        for shape in schema["properties"].values():
            if shape.get("default") == ():
                shape["default"] = []  # as it travels
    for role, type_ in RECORDS.items():
        # The role has a default only where a record is made in Python.
        schemas[type_.__name__]["properties"]["role"] = {"enum": [role]}
        schemas[type_.__name__]["required"].append("role")
    refs = {role: _REF.format(name=type_.__name__) for role, type_ in RECORDS.items()}
    schemas["Record"] = {
        "title": "Record",
        "description": "One line of a session: a message, or an event.",
        "anyOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "role", "mapping": refs},
    }
    for name, root in zip(NOTIFICATIONS, roots[-len(NOTIFICATIONS) :], strict=True):
        schemas[_type_name(name)] = {"title": _type_name(name), "description": f"Params of `{name}`.", **root}
    return schemas


def _record(type_: type) -> dict[str, Any]:
    """msgspec's hook for the type `Record`, which it does not know."""
    if type_ is Record:
        return {"$ref": _REF.format(name="Record")}
    raise NotImplementedError(type_)  # how a hook of msgspec declines a type


def _method(row: Method) -> dict[str, Any]:
    return {
        "name": row.name,
        "summary": (row.params.__doc__ or "").split("\n")[0],
        "paramStructure": "either",
        "params": _params(row.params),
        "result": {
            "name": row.result.__name__,
            "schema": {"$ref": _REF.format(name=row.result.__name__)},
        },
        "errors": [{"$ref": f"#/components/errors/{error.__name__}"} for error in row.errors],
        "x-read-only": row.read_only,
    }


def _params(kind: type) -> list[dict[str, Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        {
            "name": field.name,
            "required": field.default is dataclasses.MISSING,
            "schema": msgspec.json.schema_components([hints[field.name]], ref_template=_REF)[0][0],
        }
        for field in dataclasses.fields(kind)
    ]


def _error(error: type[RpcError]) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": (error.__doc__ or "").split("\n")[0],
        "data": {"kind": error.kind, "retryable": error.retryable},
    }
