"""Of what descriptions of requests and answers are made: JSON Schema (2020-12), and what is taken,
answered and refused. Ranges and words come from where the code has them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ...options import Option
from ...prepare.request import LONGEST_TEXT

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "number", "minimum": 0, "description": "seconds"}
ADDRESS: Schema = {"type": "string", "format": "uri-reference"}
INSTANT: Schema = {"type": "string", "format": "date-time"}
BYTES: Schema = {}  # of a body that is a file: OpenAPI 3.1 has no schema for it

JSON = "application/json"
HTML = "text/html"
MP4 = "video/mp4"
# What refuses where something is to be written.
OF_STORAGE = ("storage_full", "storage_failed")


# --- schemas


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(optional: Schema | None = None, **members: Schema) -> Schema:
    """An object that always has these members, and may have the optional ones."""
    schema: Schema = {"type": "object", "properties": {**members, **(optional or {})}}
    if members:
        schema["required"] = list(members)
    return schema


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def tuple_of(items: Schema, count: int) -> Schema:
    return {"type": "array", "items": items, "minItems": count, "maxItems": count}


def nullable(schema: Schema) -> Schema:
    """Or null, which says that there is none, or none yet."""
    if "type" in schema and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def words(said: Iterable[str]) -> Schema:
    return {"type": "string", "enum": [str(word) for word in said]}


def text(description: str, max_length: int = LONGEST_TEXT) -> Schema:
    return {"type": "string", "maxLength": max_length, "description": description}


def ranged(option: Option, default: float | None = None) -> Schema:
    """The range of an option as it is checked."""
    schema: Schema = {
        "type": "integer" if option.step == 1 else "number",
        "minimum": _number(option.minimum),
        "maximum": _number(option.maximum),
        "description": option.help,
    }
    default = option.default if default is None else default
    if default is not None:
        schema["default"] = _number(default)
    return schema


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value


def of_dataclass(kind: type) -> Schema:
    """Of a record of figures, as `dataclasses.asdict` shows it."""
    hints = get_type_hints(kind)
    return record(**{field.name: _of_type(hints[field.name]) for field in fields(kind)})


def _of_type(hint: Any) -> Schema:
    known = {int: INTEGER, float: NUMBER, bool: BOOLEAN, str: STRING}
    if hint in known:
        return known[hint]
    arguments = get_args(hint)
    if isinstance(hint, UnionType) and NoneType in arguments:
        (wanted,) = (each for each in arguments if each is not NoneType)
        return nullable(_of_type(wanted))
    if get_origin(hint) is dict:  # JSON has strings for keys
        return {"type": "object", "additionalProperties": _of_type(arguments[1])}
    raise TypeError(f"no schema for {hint}")


# --- operations


@dataclass(frozen=True, slots=True)
class Answer:
    """
    content  schemas by media type; none: there is no body
    headers  their names, with what they say
    """

    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Body:
    """
    content   schemas by media type
    encoding  of the fields of a form
    """

    content: Mapping[str, Schema]
    description: str = ""
    is_required: bool = True
    encoding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    errors   codes that its handler may answer with, besides those that all routes share
    query    schemas by name; `required` lists those without which it is refused
    is_file  ranges and preconditions are understood
    example  of the body, for the curl line of the page
    """

    tag: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    errors: tuple[str, ...] = ()
    query: Mapping[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    headers: Mapping[str, Schema] = field(default_factory=dict)
    body: Body | None = None
    is_file: bool = False
    example: str = ""


def answers(status: int, name: str, description: str, **headers: str) -> dict[int, Answer]:
    """One kind of answer: a JSON document."""
    named = {header.replace("_", "-"): says for header, says in headers.items()}
    return {status: Answer(description, {JSON: ref(name)}, named)}


def nothing(description: str) -> dict[int, Answer]:
    return {204: Answer(description)}


def file(description: str, *media_types: str) -> dict[int, Answer]:
    """All of it; other answers of files are added in `openapi`."""
    return {200: Answer(description, dict.fromkeys(media_types, BYTES))}


def json_body(name: str, *, description: str = "", is_required: bool = True) -> Body:
    return Body({JSON: ref(name)}, description, is_required)


def events_of(what: str, schema: Schema) -> dict[int, Answer]:
    """Server-sent events: the schema is that of the JSON in each message's `data`."""
    message = {"type": "string", "contentMediaType": JSON, "contentSchema": schema}
    return {200: Answer(what, {"text/event-stream": message})}
