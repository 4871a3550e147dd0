"""Requests made from what the daemon says of itself (`rpc.discover`), for every method: right and nearly so.

Whatever the document allows is answered as the document says, result and error; whatever it does not allow is
refused by the field's name. Nothing is an internal error, and the daemon lives on.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from port42_protocol.errors import InternalError, InvalidParams
from port42_protocol.methods import METHODS

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
JSON = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
EXTREMES = st.sampled_from(
    [
        2**53,
        2**63,
        -(2**63),
        10**40,
        1e308,
        "",
        "\x00",
        "\ud7ff\U0010ffff",
        "x" * 70_000,
        [[]] * 500,
        {"": None},
    ]
)
# What would leave the test's folder, run long, or start a program of chance.
HARMLESS: dict[str, st.SearchStrategy[Any]] = {
    "path": st.sampled_from(["/dev/null", "/etc/hostname", "/nowhere", "/etc/passwd/x"]),
    "command": st.just(["cat"]),
    "base_url": st.just("http://127.0.0.1:9/v1"),
    "backend": st.sampled_from(["none", "no-such-backend"]),
    "type": st.sampled_from(["file", "session", "text"]),
    "target": st.sampled_from(["/etc/hostname", "/dev/null", "cli-1", "x"]),
}
KNOWN = {
    "agent": st.sampled_from(["ai-muse", "ai-analyst", "nobody"]),
    "session_id": st.sampled_from(["cli-1", "cli-2", "cli-none"]),
    "ref": st.sampled_from(["last", "cli-1", "title", "cli-"]),
}


class Document:
    """The daemon's own description, as strategies."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.methods = {method["name"]: method for method in document["methods"]}
        self.components = document["components"]

    def params(self, method: str) -> st.SearchStrategy[dict[str, Any]]:
        """Params that the document allows."""
        params = self.methods[method]["params"]
        fields = {param["name"]: self._field(param["name"], param["schema"]) for param in params}
        needed = {param["name"] for param in params if param["required"]}
        return st.fixed_dictionaries(
            {name: value for name, value in fields.items() if name in needed},
            optional={name: value for name, value in fields.items() if name not in needed},
        )

    def allows(self, method: str, params: Any) -> bool:
        """Whether params, by name, are as the document has them."""
        described = self.methods[method]["params"]
        schema = {
            "type": "object",
            "properties": {param["name"]: param["schema"] for param in described},
            "required": [param["name"] for param in described if param["required"]],
            "additionalProperties": False,
            "components": self.components,
        }
        return bool(jsonschema.Draft202012Validator(schema).is_valid(params))

    def check_result(self, method: str, result: Any) -> None:
        schema = {**self.methods[method]["result"]["schema"], "components": self.components}
        jsonschema.validate(result, schema, jsonschema.Draft202012Validator)

    def _field(self, name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if name in HARMLESS:
            return HARMLESS[name]
        made = self._values(schema)
        return KNOWN[name] | KNOWN[name] | made if name in KNOWN else made

    def _values(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            return self._values(self.components["schemas"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return st.one_of(*map(self._values, schema["anyOf"]))
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "const" in schema:
            return st.just(schema["const"])
        return getattr(self, f"_{schema.get('type', 'any')}")(schema)

    def _any(self, _: dict[str, Any]) -> st.SearchStrategy[Any]:
        return JSON

    def _null(self, _: dict[str, Any]) -> st.SearchStrategy[Any]:
        return st.none()

    def _boolean(self, _: dict[str, Any]) -> st.SearchStrategy[Any]:
        return st.booleans()

    def _integer(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        return st.integers(schema.get("minimum"), schema.get("maximum"))

    def _number(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        least = schema.get("minimum", schema.get("exclusiveMinimum", 0.001))
        return st.floats(least or 0.001, schema.get("maximum", 1e6))

    def _string(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        characters = st.characters(codec="utf-8")
        if "pattern" in schema:
            return st.from_regex(schema["pattern"], alphabet=characters)
        least = schema.get("minLength", 0)
        return st.text(characters, min_size=least, max_size=min(schema.get("maxLength", 50), 50))

    def _array(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        most = min(schema.get("maxItems", 4), 4)
        return st.lists(
            self._values(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=most
        )

    def _object(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if "properties" not in schema:
            more = schema.get("additionalProperties", {})
            return st.dictionaries(
                st.text(max_size=5), self._values(more if isinstance(more, dict) else {}), max_size=3
            )
        fields = {name: self._field(name, inner) for name, inner in schema["properties"].items()}
        needed = set(schema.get("required", ()))
        return st.fixed_dictionaries(
            {name: value for name, value in fields.items() if name in needed},
            optional={name: value for name, value in fields.items() if name not in needed},
        )


@st.composite
def nearly(draw: st.DrawFn, right: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """Right params with one thing wrong, as often as not."""
    params = dict(draw(right))
    how = draw(st.sampled_from(["right", "right", "other", "extreme", "missing", "unknown"]))
    if how in {"other", "extreme"} and params:
        name = draw(st.sampled_from(sorted(params)))
        if name not in HARMLESS:
            params[name] = draw(JSON if how == "other" else EXTREMES)
    elif how == "missing" and params:
        del params[draw(st.sampled_from(sorted(params)))]
    elif how == "unknown":
        params[draw(st.sampled_from(["x", "", "self", "params"]))] = draw(PLAIN)
    return params


def check(document: Document, method: str, params: dict[str, Any], answer: dict[str, Any]) -> None:
    allowed = document.allows(method, params)
    if "result" in answer:
        assert allowed, "what the document does not allow was taken"
        document.check_result(method, answer["result"])
        return
    error = answer["error"]
    documented = {row.code for row in METHODS[method].errors} | {-32600, -32602, -32002}
    assert error["code"] != InternalError.code, error
    assert error["code"] in documented, (method, error)
    if error["code"] == InvalidParams.code:
        field = error["data"].get("field")
        assert field is None or field.split(".")[0].split("[")[0] in {*params, *_fields(document, method)}, (
            error
        )
        assert error["data"]["expected"]
    else:
        assert allowed, "params that the document does not allow met another error"


def _fields(document: Document, method: str) -> set[str]:
    return {param["name"] for param in document.methods[method]["params"]}


def send_many(daemon: Any, document: Document, method: str, examples: int) -> None:
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(nearly(document.params(method)))
    def send(params: dict[str, Any]) -> None:
        with daemon.connect() as peer, peer.makefile("rb") as lines:
            request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
            peer.sendall(json.dumps(request).encode() + b"\n")
            answers = (json.loads(line) for line in lines)
            answer = next(answer for answer in answers if "method" not in answer)
        check(document, method, params, answer)

    send()


def meet_every_method(daemon: Any, examples: int) -> None:
    for session_id, agent in (("cli-1", "ai-muse"), ("cli-2", "ai-analyst")):
        daemon.call("create_session", agent=agent, session_id=session_id, title="title")
    document = Document(daemon.call("rpc.discover"))
    assert document.methods.keys() == METHODS.keys()
    for method in METHODS:
        send_many(daemon, document, method, examples)
    assert daemon.call("status")["pid"] == daemon.pid
    assert "internal error" not in daemon.log()
    assert "Traceback" not in daemon.log()


def test_every_method_as_the_daemon_describes_it(daemon):
    meet_every_method(daemon, 12)


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_every_method_thousands_of_times(daemon):
    meet_every_method(daemon, 1_000)
