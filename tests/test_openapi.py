"""The OpenAPI document says what the server does: its routes, ranges, codes, events and answers."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
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
from musetalk_stream.web.context import CONFIG
from musetalk_stream.web.openapi.document import document
from musetalk_stream.web.openapi.page import Contract
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


def test_every_code_is_of_an_operation(contract: Json) -> None:
    """Or is told in another way, in which case it is listed here."""
    of_events = {"render_failed", "server_restarted"}
    of_jobs = {"face_cut", "face_finder_missing", "face_too_small", "no_face", "unsupported_avatar"}
    at_start = {"setup_error", "weights_error", "weights_missing"}
    of_no_operation = {"method_not_allowed"}
    roots = {"busy", "conflict"}
    known = {kind.code for kind in subclasses(MuseTalkStreamError)} | set(FRAMEWORK_CODES.values())
    told = {code for _, operation in each_operation(contract) for _, code in codes(operation)}
    assert known - told == of_events | of_jobs | at_start | of_no_operation | roots


async def test_refusals_are_those_that_are_told(contract: Json, serve: Serve) -> None:
    operations = dict(each_operation(contract))
    creation, upload = "POST /sessions/create", "POST /sessions/{session_id}/stream"

    def told(name: str, answer: httpx.Response) -> str:
        code: str = answer.json()["code"]
        assert (answer.status_code, code) in codes(operations[name])
        return code

    server = await serve(
        max_sessions_per_user=1,
        max_utterances_per_user=1,
        upload_mb_per_hour=0.2,
        trusted_proxies="127.0.0.1",
        no_auth=True,
    )
    session_id = await server.create(user_id="ann", on_busy="queue")
    again = await server.client.post("/sessions/create", json={"user_id": "ann"})
    assert told(creation, again) == "too_many_sessions_of_user"
    server.client.headers["X-Forwarded-For"] = "203.0.113.5"
    much = await server.upload(session_id, wav(tone(10.0)))
    assert told(upload, much) == "quota_exceeded"
    assert (await server.upload(session_id, wav(tone(1.0)))).status_code == 202
    more = await server.upload(session_id, wav(tone(0.1)))
    assert told(upload, more) == "too_many_utterances_of_user"
    full = await serve(min_free_mb=900_000_000)
    refused = await full.client.post("/sessions/create")
    assert told(creation, refused) == "storage_full"
    loop = await server.client.get("/avatars/tiny", headers={"Expect": "more"})
    assert told("GET /avatars/{avatar_id}", loop) == "expectation_failed"


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


async def test_its_texts_are_made_once() -> None:
    """For all who ask at once, and where the first has left."""
    app, contract = build_app(Config(), NumberRenderer()), Contract()
    first = asyncio.create_task(contract.texts(app[CONFIG], app[NEEDS]))
    await asyncio.sleep(0)
    first.cancel()
    both = [contract.texts(app[CONFIG], app[NEEDS]) for _ in range(2)]
    second, third = await asyncio.gather(*both)
    assert first.cancelled()
    assert second is third
    assert await contract.texts(app[CONFIG], app[NEEDS]) is second


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/openapi.json", "application/openapi+json"), ("/docs", "text/html; charset=utf-8")],
)
async def test_it_says_where_it_is_mounted_and_is_kept_by_its_tag(
    serve: Serve, path: str, kind: str
) -> None:
    server = await serve(trusted_proxies="127.0.0.1")
    plain = await server.client.get(path)
    assert plain.headers["Content-Type"] == kind
    for headers in ({"X-Forwarded-Prefix": "/avatar"}, {"X-Forwarded-Prefix": "/another"}):
        other = await server.client.get(path, headers=headers)
        assert headers["X-Forwarded-Prefix"] in other.text
        assert other.headers["ETag"] != plain.headers["ETag"]
    assert (await server.client.get(path)).text == plain.text
    known = {"If-None-Match": plain.headers["ETag"]}
    assert (await server.client.get(path, headers=known)).status_code == 304


async def test_servers_and_lines_to_paste_say_where_it_is(serve: Serve) -> None:
    server = await serve(trusted_proxies="127.0.0.1")
    assert (await server.client.get("/openapi.json")).json()["servers"] == [{"url": "/"}]
    by_proxy = {"X-Forwarded-Prefix": "/avatar"}
    below = await server.client.get("/openapi.json", headers=by_proxy)
    assert below.json()["servers"] == [{"url": "/avatar"}]
    page = (await server.client.get("/docs", headers=by_proxy)).text
    assert 'href="/avatar/static/docs.css"' in page
    assert f"{server.url}/avatar/sessions/create" in page
    assert not re.search("[\ue000-\uf8ff]", page)  # nothing is left to be put in


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
