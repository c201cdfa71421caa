"""The OpenAPI document says what the server does: its routes, ranges, codes, events and answers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import openapi_spec_validator
import pytest
from fakes import NumberRenderer, tone, wav
from servers import Json, Serve
from test_docs import published_events, subclasses

from musetalk_stream.access import PUBLIC, VIEW
from musetalk_stream.config import Config
from musetalk_stream.errors import MuseTalkStreamError
from musetalk_stream.options import (
    INTERRUPT_WAIT,
    PCM_CHANNELS,
    PCM_RATE,
    SESSION_OPTIONS,
    TRAILING_SILENCE,
    Option,
)
from musetalk_stream.web.access import NEEDS
from musetalk_stream.web.app import build_app
from musetalk_stream.web.openapi.document import document
from musetalk_stream.web.openapi.tables import operations
from musetalk_stream.web.problems import FRAMEWORK_CODES

_STANDARD = "resources/schemas/v3.1/schema.json"
METHODS = {"get", "put", "post", "delete"}


@pytest.fixture(scope="module")
def contract() -> Json:
    app = build_app(Config(), NumberRenderer())
    return document(Config(), app[NEEDS])


def each_operation(contract: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in contract["paths"].items():
        for method in METHODS & set(methods):
            yield f"{method.upper()} {path}", methods[method]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(named := value.get("$ref"), str):
            yield named
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_it_is_openapi(contract: Json) -> None:
    """By the schema of the standard; `scripts/fuzz schema` lets its validator look, too, which
    takes a minute."""
    of_standard = Path(openapi_spec_validator.__file__).parent / _STANDARD
    jsonschema_rs.Draft202012Validator(json.loads(of_standard.read_text())).validate(contract)
    named = {f"#/components/schemas/{name}" for name in contract["components"]["schemas"]}
    assert set(references(contract)) <= named


def test_routes_and_operations_are_the_same() -> None:
    app = build_app(Config(), NumberRenderer())
    routes = {
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert set(operations(Config())) == routes
    assert {name for name, _ in each_operation(document(Config(), app[NEEDS]))} == routes


def test_names_of_operations_are_unique(contract: Json) -> None:
    names = [operation["operationId"] for _, operation in each_operation(contract)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("POST /sessions/create", option) for option in SESSION_OPTIONS),
        ("POST /sessions/{session_id}/stream", TRAILING_SILENCE),
        ("POST /sessions/{session_id}/interrupt", INTERRUPT_WAIT),
        ("GET /sessions/{session_id}/audio/ws", PCM_RATE),
        ("GET /sessions/{session_id}/audio/ws", PCM_CHANNELS),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_ranges_are_those_that_are_checked(contract: Json, name: str, option: Option) -> None:
    operation = dict(each_operation(contract))[name]
    (schema,) = (each["schema"] for each in operation["parameters"] if each["name"] == option.name)
    assert (schema["minimum"], schema["maximum"]) == (option.minimum, option.maximum)
    option.read(schema["maximum"])
    with pytest.raises(MuseTalkStreamError):
        option.read(schema["maximum"] + 1)


def codes(operation: Json) -> Iterator[tuple[int, str]]:
    for status, answer in operation["responses"].items():
        problem = answer.get("content", {}).get("application/problem+json")
        if problem:
            for code in problem["schema"]["properties"]["code"]["enum"]:
                yield int(status), code


def test_codes_are_known_under_their_status(contract: Json) -> None:
    known = {(kind.status, kind.code) for kind in subclasses(MuseTalkStreamError)}
    known |= set(FRAMEWORK_CODES.items())
    for name, operation in each_operation(contract):
        assert set(codes(operation)) <= known, name


def test_who_may_is_what_the_routes_need() -> None:
    needs = {(path, "GET"): need for path, need in (("/healthz", PUBLIC), ("/jobs", VIEW))}
    its = dict(each_operation(document(Config(), needs)))
    assert its["GET /healthz"]["security"] == []
    assert its["GET /jobs"]["security"] == [
        {"apiKey": []}, {"token": []}, {"tokenInQuery": []}, {},
    ]  # fmt: skip
    assert (401, "token_expired") in codes(its["GET /jobs"])
    assert (401, "token_expired") not in codes(its["GET /healthz"])


def test_events_are_those_that_are_published(contract: Json) -> None:
    named = set(contract["components"]["schemas"]["Event"]["discriminator"]["mapping"])
    assert named | {"job"} == published_events()


def closed(contract: Json) -> Json:
    """Objects have the members that are documented, and no others."""
    for schema in contract["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return contract


def matches(contract: Json, name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": contract["components"]}
    jsonschema_rs.Draft202012Validator(schema).validate(value)


async def test_what_a_session_tells(serve: Serve) -> None:
    """Documents and events of a session that speaks and is interrupted, member by member."""
    server = await serve()
    told = await server.client.get("/openapi.json")
    contract = closed(told.json())
    created = await server.client.post("/sessions/create", json={"user_id": "ann"})
    matches(contract, "SessionCreated", created.json())
    session_id = created.json()["session_id"]
    async with server.events(session_id) as events:
        accepted = await server.upload(session_id, wav(tone(1.0)))
        matches(contract, "Accepted", accepted.json())
        request_id = accepted.json()["request_id"]
        heard = await events.until("complete")
        base = f"/sessions/{session_id}"
        for path, name in ((base, "Session"), (f"{base}/utterances", "Utterances"),
                           (f"{base}/utterances/{request_id}", "Utterance"),
                           ("/sessions/stats", "Statistics"), ("/avatars", "Avatars")):  # fmt: skip
            matches(contract, name, (await server.client.get(path)).json())
        silence = await server.client.post(f"{base}/interrupt", json={"wait": 0})
        matches(contract, "Interruption", silence.json())
        assert (await server.client.delete(base)).status_code == 204
        heard += await events.rest()
    assert {"state", "queued", "started", "chunk", "complete", "closed"} <= {
        event["event"] for event in heard
    }
    for event in heard:
        matches(contract, f"Event_{event['event']}", event)


async def test_it_says_where_it_is_mounted_and_is_kept_by_its_tag(serve: Serve) -> None:
    server = await serve(trusted_proxies="127.0.0.1")
    plain = await server.client.get("/openapi.json")
    assert plain.headers["Content-Type"] == "application/openapi+json"
    assert plain.json()["servers"] == [{"url": "/"}]
    below = await server.client.get("/openapi.json", headers={"X-Forwarded-Prefix": "/avatar"})
    assert below.json()["servers"] == [{"url": "/avatar"}]
    assert below.headers["ETag"] != plain.headers["ETag"]
    known = {"If-None-Match": plain.headers["ETag"]}
    assert (await server.client.get("/openapi.json", headers=known)).status_code == 304


async def test_the_page_has_every_operation_and_every_schema(serve: Serve) -> None:
    server = await serve()
    contract = (await server.client.get("/openapi.json")).json()
    page = (await server.client.get("/docs")).raise_for_status().text
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    for _, operation in each_operation(contract):
        assert operation["operationId"] in ids
    for target in re.findall(r'href="#([^"]+)"', page):
        assert target in ids
    assert "style=" not in page
    assert "<script" not in page
