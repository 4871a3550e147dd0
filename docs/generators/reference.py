"""The reference pages, as Markdown: commands from click, methods and events from the protocol's table, the
configuration from the structs that `config.toml` is read into.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from port42_cli.app import port42
from port42_daemon.config import Config
from port42_protocol import openrpc

_REF = "#/components/schemas/"


def walk(
    command: click.Command = port42, name: str = "port42", parent: click.Context | None = None
) -> Iterator[tuple[click.Context, click.Command]]:
    """Each command in the order of the help texts, groups before what is in them."""
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield context, command
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from walk(found, child, context)


def usage(context: click.Context) -> str:
    """``port42 show [OPTIONS] REF``"""
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def paragraphs(text: str | None) -> Iterator[tuple[bool, str]]:
    """Those of a help text, and whether its lines stay as they are (click's mark for that is a backspace)."""
    for paragraph in re.split(r"\n{2,}", inspect.cleandoc(text or "")):
        kept = paragraph.startswith("\b")
        lines = paragraph.removeprefix("\b\n")
        yield kept, lines if kept else " ".join(lines.split())


def records(context: click.Context, command: click.Command) -> list[tuple[str, str]]:
    """Each option with its help. Arguments, which have none, are in the usage."""
    found = [param.get_help_record(context) for param in command.get_params(context)]
    return [record for record in found if record is not None and record[1]]


def commands() -> str:
    parts = ["# Commands\n"]
    for context, command in walk():
        parts.append(f"\n{'#' * min(4, 2 + context.command_path.count(' '))} `{context.command_path}`\n")
        parts.append(f"```text\n{usage(context)}\n```\n")
        for kept, paragraph in paragraphs(command.help):
            parts.append(f"```text\n{paragraph}\n```\n" if kept else f"{paragraph}\n")
        rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records(context, command)]
        parts.append("\n".join(["| option | |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def methods() -> str:
    document = _document()
    parts = [
        "# Methods\n",
        f"{document['info']['description']}\n",
        "`port42 rpc rpc.discover` prints all of this as an OpenRPC document, with examples.\n",
    ]
    for method in document["methods"]:
        parts.append(
            f"\n## `{method['name']}`\n\n{method['description' if 'description' in method else 'summary']}\n"
        )
        marks = ["serves the socket for reading, too"] if method.get("x-read-only") else []
        marks += [f"since {method['x-since']}"] if "x-since" in method else []
        parts.append(f"*{'; '.join(marks)}*\n" if marks else "")
        if method["params"]:
            rows = [
                _row(param["name"], param["schema"], param.get("required", False))
                for param in method["params"]
            ]
            parts.append("\n".join(["| parameter | type | |", "|---|---|---|", *rows, ""]))
        parts.append(f"Result: {type_of(method['result']['schema'])}\n")
        errors = [
            document["components"]["errors"][ref["$ref"].rpartition("/")[2]]
            for ref in method.get("errors", ())
        ]
        if errors:
            named = [f"`{error['code']}` {error['message'].rstrip('.')}" for error in errors]
            parts.append(f"Errors: {', '.join(named)}\n")
        parts += [_example(method["name"], example) for example in method.get("examples", ())[:1]]
    parts.append("\n# Types\n")
    parts += [_type(name, schema) for name, schema in document["components"]["schemas"].items()]
    return "\n".join(parts)


def events() -> str:
    schemas = _document()["components"]["schemas"]
    parts = [
        "# Events\n",
        "`subscribe`, and `possess` with `stream`, send notifications `session_event`; their params are one"
        " of these, told apart by `kind`. The types named here are in [Methods](methods.md#types).\n",
    ]
    for ref in schemas["SessionEvent"]["anyOf"]:
        name = ref["$ref"].removeprefix(_REF)
        kind = schemas[name]["properties"]["kind"]["enum"][0]
        parts.append(_fields(f"\n## `{kind}`\n", schemas[name], page="methods.md"))
    return "\n".join(parts)


def config() -> str:
    """Tables of `config.toml` in the order of the structs."""
    (_, components) = msgspec.json.schema_components([Config], ref_template=_REF + "{name}")
    parts = [
        "# Configuration\n",
        "The file is `~/.port42/config.toml`; `port42 agents connect` writes it, too.\n",
    ]
    for name, schema in components.items():
        fields = {field: _in_toml(known) for field, known in schema["properties"].items()}
        heading = f"\n## {_table_name(name, schema)} {{#{name.lower()}}}\n"
        parts.append(_fields(heading, schema | {"properties": fields}))
    return "\n".join(parts)


def _table_name(name: str, schema: dict[str, Any]) -> str:
    """What people look for: the table as it is written in the file."""
    if kind := schema["properties"].get("type", {}).get("enum"):
        return f'`[backends.NAME]` of type `"{kind[0]}"`'
    written = re.search(r"``(\[[^`]+\])``", schema.get("description", ""))
    return f"`{written[1]}`" if written else name


def _in_toml(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field without null, which TOML does not have: the field is left out."""
    kept = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    schema = {name: value for name, value in schema.items() if (name, value) != ("default", None)}
    if len(kept) == 1:
        return {name: value for name, value in schema.items() if name != "anyOf"} | kept[0]
    return schema | {"anyOf": kept} if kept else schema


def type_of(schema: dict[str, Any], page: str = "") -> str:
    """A JSON Schema in a few words, with links to the types it names."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return f"[{name}]({page}#{name.lower()})"
    if "enum" in schema or "const" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        return " or ".join(f"`{json.dumps(value)}`" for value in values)
    if "anyOf" in schema:
        return " or ".join(type_of(choice, page) for choice in schema["anyOf"])
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"array of {type_of(schema['items'], page)}" if schema.get("items") else "array"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {type_of(schema['additionalProperties'], page)}"
    return f"{kind}{_limits(schema)}"


def _limits(schema: dict[str, Any]) -> str:
    bounds = [
        (schema.get(low, schema.get(f"exclusive{low.capitalize()}")), schema.get(high))
        for low, high in (("minimum", "maximum"), ("minLength", "maxLength"))
    ]
    shown = [
        f"{'' if low is None else low}…{'' if high is None else high}"
        for low, high in bounds
        if (low, high) != (None, None)
    ]
    return f" ({', '.join(shown)})" if shown else ""


def _type(name: str, schema: dict[str, Any]) -> str:
    return _fields(f"\n## {name}\n", schema)


def _fields(heading: str, schema: dict[str, Any], page: str = "") -> str:
    parts = [heading, f"{' '.join(schema.get('description', '').split())}\n"]
    if "anyOf" in schema:
        parts.append(f"{type_of(schema, page)}\n")
    required = schema.get("required", ())
    rows = [_row(name, field, name in required, page) for name, field in schema.get("properties", {}).items()]
    if rows:
        parts.append("\n".join(["| field | type | |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _row(name: str, schema: dict[str, Any], required: bool, page: str = "") -> str:
    notes = [schema["description"]] if "description" in schema else []
    notes += [choice["description"] for choice in schema.get("anyOf", ()) if "description" in choice]
    if not required and not isinstance(schema.get("default"), dict):
        notes.append(f"default `{json.dumps(schema['default'])}`" if "default" in schema else "optional")
    return f"| `{name}` | {_cell(type_of(schema, page))} | {_cell('; '.join(notes))} |"


def _example(method: str, example: dict[str, Any]) -> str:
    params = {param["name"]: param["value"] for param in example["params"]}
    shown = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    result = json.dumps(example["result"]["value"], indent=2, ensure_ascii=False)
    return f"```json\n{json.dumps(shown, ensure_ascii=False)}\n```\n\n```json\n{result}\n```\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _document() -> Any:
    return json.loads(msgspec.json.encode(openrpc.document()))
