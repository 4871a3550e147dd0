"""The OpenRPC document: shaped as its specification says, whole, and true to the dataclasses."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing.jsonschema
from peers import versions

from port42_protocol import PROTOCOL_VERSION
from port42_protocol.codec import decode_json, decode_result, encode
from port42_protocol.errors import STANDARD, NoSessions
from port42_protocol.messages.daemon import OpenRpc
from port42_protocol.methods import METHODS, Method
from port42_protocol.openrpc import document

ROWS = list(METHODS.values())
DATA = Path(__file__).parents[1] / "data"


def named(row: Method) -> str:
    return row.name


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """The document as it travels."""
    return decode_json(encode(document()))


def method(plain: dict[str, Any], row: Method) -> dict[str, Any]:
    return next(one for one in plain["methods"] if one["name"] == row.name)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from references(one)


def test_it_travels_as_the_result_of_its_method(plain: dict[str, Any]) -> None:
    assert decode_result(OpenRpc, plain) == document()


def test_it_is_the_same_each_time() -> None:
    assert encode(document()) == encode(document())


def test_it_fits_the_meta_schema_of_openrpc(plain: dict[str, Any]) -> None:
    schema = json.loads((DATA / "openrpc" / "meta-schema.json").read_bytes())
    del schema["$schema"]
    # It means JSON Schema's own by another address, where the property `$ref` stands elsewhere.
    draft = dict(jsonschema.Draft7Validator.META_SCHEMA)
    draft["definitions"] = draft["definitions"] | {"JSONSchemaObject": {"properties": draft["properties"]}}
    resource = referencing.jsonschema.DRAFT7.create_resource(draft)
    addresses = ("https://meta.json-schema.tools", "https://meta.json-schema.tools/")
    known = referencing.Registry().with_resources((address, resource) for address in addresses)
    jsonschema.Draft7Validator(schema, registry=known).validate(plain)
    assert plain["openrpc"] in schema["properties"]["openrpc"]["enum"]
    assert plain["info"]["version"] == str(PROTOCOL_VERSION)


def test_every_method_in_the_order_of_the_table(plain: dict[str, Any]) -> None:
    assert [one["name"] for one in plain["methods"]] == list(METHODS)


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_method_is_described(plain: dict[str, Any], row: Method) -> None:
    described = method(plain, row)
    assert described["paramStructure"] == "either"
    assert described["summary"] == row.params.__doc__.split("\n")[0]
    assert described["result"]["name"] == row.result.__name__
    fields = dataclasses.fields(row.params)
    assert [one["name"] for one in described["params"]] == [one.name for one in fields]
    required = [one.name for one in fields if one.default is dataclasses.MISSING]
    assert [one["name"] for one in described["params"] if one["required"]] == required
    assert described["errors"] == [{"$ref": f"#/components/errors/{one.__name__}"} for one in row.errors]


def test_every_reference_leads_somewhere(plain: dict[str, Any]) -> None:
    found = set(references(plain))
    assert "#/components/schemas/Summary" in found
    for reference in found:
        assert reference.startswith("#/")
        place: Any = plain
        for step in reference[2:].split("/"):
            place = place[step]
        assert place


def test_every_component_is_used(plain: dict[str, Any]) -> None:
    """Params are described one by one; their own schemas stand there for those who generate code."""
    found = set(references(plain)) | {f"#/components/schemas/{row.params.__name__}" for row in ROWS}
    found |= {"#/components/schemas/SessionEvent"}
    found |= {f"#/components/errors/{one.__name__}" for one in STANDARD}
    have = {f"#/components/{group}/{name}" for group, held in plain["components"].items() for name in held}
    assert have == found


def test_descriptions_are_not_indented(plain: dict[str, Any]) -> None:
    """Otherwise the document would differ from one Python to the next."""
    for schema in plain["components"]["schemas"].values():
        assert not re.search(r"^[ \t]", schema["description"], re.MULTILINE)


def test_schemas_are_json_schemas(plain: dict[str, Any]) -> None:
    schemas = [*plain["components"]["schemas"].values()]
    schemas += [one["schema"] for row in plain["methods"] for one in row["params"]]
    for schema in schemas:
        jsonschema.Draft7Validator.check_schema(schema)


def test_patterns_are_those_of_every_dialect(plain: dict[str, Any]) -> None:
    """Clients check them in other languages: no syntax that only Python's `re` has."""
    patterns = set(re.findall(r'"pattern":"((?:[^"\\]|\\.)*)"', encode(plain).decode()))
    assert patterns
    for pattern in patterns:
        assert not re.search(r"\(\?P|\\\\[AZz]|\(\?<|\(\?#|\(\?[aimsx]", pattern)
        assert pattern.startswith("^")


def test_errors_say_code_kind_and_whether_to_try_again(plain: dict[str, Any]) -> None:
    found = plain["components"]["errors"]
    assert found["NoSessions"] == {
        "code": NoSessions.code,
        "message": "The agent has no session (in that folder, where one was given).",
        "data": {"kind": "no_sessions", "retryable": False},
    }
    assert found["StorageFailed"]["data"] == {"kind": "storage_failed", "retryable": True}
    everything = {*STANDARD, *(one for row in ROWS for one in row.errors)}
    assert {name: one["code"] for name, one in found.items()} == {
        one.__name__: one.code for one in everything
    }


@pytest.mark.parametrize(
    ("name", "param", "good", "bad"),
    [
        ("get_last_session", "agent", ["a", "ai-engineer"], ["", "@@x", "a/b", "a" * 65, 1, None]),
        ("get_last_session", "cwd", ["/", "/srv", None], ["srv", "/a\x00", 1]),
        ("append_message", "role", ["user", "error"], ["event", "root", None]),
        ("list_sessions", "limit", [1, 500], [0, 501, "1", None]),
        ("list_sessions", "state", ["active", "ended", None], ["open", 1]),
        ("create_session", "metadata", [{}, {"a": [1]}, None], [[], "x"]),
        ("get_session", "events", [True, False], [1, "yes", None]),
    ],
)
def test_params_are_what_the_codec_takes(
    plain: dict[str, Any], name: str, param: str, good: list[Any], bad: list[Any]
) -> None:
    described = next(one for one in method(plain, METHODS[name])["params"] if one["name"] == param)
    validator = jsonschema.Draft7Validator(described["schema"])
    assert all(validator.is_valid(value) for value in good)
    assert not any(validator.is_valid(value) for value in bad)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of the older version."""
    code = "import sys, port42_protocol.openrpc as o, port42_protocol.codec as c;"
    code += "sys.stdout.buffer.write(c.encode(o.document()))"
    environ = os.environ | versions.older(tmp_path_factory.mktemp("older")).environ
    said = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
    document: dict[str, Any] = json.loads(said.stdout)
    return document


def test_versions_of_one_protocol_understand_each_other(plain: dict[str, Any], old: dict[str, Any]) -> None:
    """What an older version knows is still there; what is new since, the other side may leave out."""
    assert old["info"]["version"] == plain["info"]["version"], "of another protocol all may be different"
    now = {one["name"]: one for one in plain["methods"]}
    for method in old["methods"]:
        known = {param["name"] for param in method["params"]}
        params = now[method["name"]]["params"]
        assert known <= {param["name"] for param in params}, method["name"]
        assert {param["name"] for param in params if param["required"]} <= known, method["name"]
    renamed = {"Message": "Record"}
    for name in old["components"]["schemas"]:
        known, _ = fields(old, name)
        ours, required = fields(plain, renamed.get(name, name))
        assert known <= ours, name
        assert required <= known, f"{name}: what was added to it needs a default"


def test_since_is_what_the_older_version_says_of_itself(plain: dict[str, Any], old: dict[str, Any]) -> None:
    """To the letter: of its version is what it had, and nothing else is."""
    before = {one["name"]: {param["name"] for param in one["params"]} for one in old["methods"]}
    first = {one["name"] for one in plain["methods"] if one["x-since"] == versions.OLD}
    assert first == set(before)
    for described in plain["methods"]:
        params = {param["name"] for param in described["params"] if param["x-since"] == versions.OLD}
        assert params == before.get(described["name"], set()), described["name"]
    for name in old["components"]["schemas"].keys() & plain["components"]["schemas"].keys() - {
        "SessionEvent"
    }:
        schema = plain["components"]["schemas"][name]
        assert schema["x-since"] == versions.OLD
        younger = {field for field, shape in schema["properties"].items() if "x-since" in shape}
        assert set(schema["properties"]) - younger == fields(old, name)[0], name


def test_what_is_deprecated_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    marked = {"end_session": "nothing", "possess.depth": "nothing", "Summary.tags": "nothing"}
    monkeypatch.setattr("port42_protocol.openrpc.DEPRECATED", marked)
    plain = decode_json(encode(document.__wrapped__()))
    assert [one["name"] for one in plain["methods"] if one["deprecated"]] == ["end_session"]
    params = [param for one in plain["methods"] for param in one["params"] if param["deprecated"]]
    assert [param["name"] for param in params] == ["depth"]
    tags = plain["components"]["schemas"]["Summary"]["properties"]["tags"]
    assert tags["deprecated"]


def test_every_request_is_shown_with_a_result_and_with_an_error(plain: dict[str, Any]) -> None:
    """What they say is held by tests/golden; here, that each is whole."""
    for described in plain["methods"]:
        names = {param["name"] for param in described["params"]}
        required = {param["name"] for param in described["params"] if param["required"]}
        for example in described["examples"]:
            assert required <= {param["name"] for param in example["params"]} <= names
            assert example["result"]["name"] == described["result"]["name"]
        assert described["examples"], described["name"]
        assert described["x-error-examples"], described["name"]
        assert all(isinstance(example["error"]["code"], int) for example in described["x-error-examples"])


def fields(document: dict[str, Any], name: str) -> tuple[set[str], set[str]]:
    """Those that a type can have, and those that it always has; of a union, those of any and of all."""
    schema = document["components"]["schemas"][name]
    if "anyOf" not in schema:
        return set(schema.get("properties", {})), set(schema.get("required", []))
    members = [fields(document, member["$ref"].rpartition("/")[2]) for member in schema["anyOf"]]
    can, must = zip(*members, strict=True)
    return set().union(*can), set.intersection(*must)
