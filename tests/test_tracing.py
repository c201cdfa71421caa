"""Spans of utterances, at a collector that takes OTLP over HTTP."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from fakes import NumberRenderer, tone, wav
from servers import Begin, Serve, Server

from musetalk_stream.config import load
from musetalk_stream.errors import SetupError
from musetalk_stream.tracing import open_tracing

TRACE = "ab" * 16
PARENT = "cd" * 8


@dataclass
class Collector:
    """A real one as far as the wire goes: it takes what is sent."""

    url: str = ""
    spans: list[dict[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        for sent in json.loads(await request.read())["resourceSpans"]:
            self.resources += sent["resource"]["attributes"]
            for scope in sent["scopeSpans"]:
                self.spans += scope["spans"]
        return web.json_response({})

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"] == name]


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    its = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", its.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    its.url = "http://{}:{}".format(*runner.addresses[0][:2])
    yield its
    await runner.cleanup()


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


async def traced(
    begin: Begin, collector: Collector, renderer: NumberRenderer, *, flags: str = "01"
) -> Server:
    """A server that has spoken three seconds, or failed to, and has ended."""
    starting = await begin(renderer, otlp_endpoint=collector.url)
    await starting.readiness.settled()
    server = starting.server
    session_id = await server.create(user_id="somebody-by-name")
    server.client.headers["traceparent"] = f"00-{TRACE}-{PARENT}-{flags}"
    server.client.headers["X-Request-Id"] = "my-upload"
    await server.speak(session_id, wav(tone(3.0)))
    await starting.runner.cleanup()
    return server


async def test_an_utterance_is_a_trace(begin: Begin, collector: Collector) -> None:
    await traced(begin, collector, NumberRenderer())
    (root,) = collector.named("utterance")
    assert (root["traceId"], root["parentSpanId"]) == (TRACE, PARENT)
    told = attributes(root)
    assert (told["outcome"], told["request_id"]) == ("complete", "my-upload")
    chunks = collector.named("chunk")
    assert int(told["chunks"]) == len(chunks) > 1
    steps = [span for name in ("hear", "wait", "first chunk") for span in collector.named(name)]
    assert len(steps) == 3
    assert {span["parentSpanId"] for span in [*steps, *chunks]} == {root["spanId"]}
    assert {span["traceId"] for span in collector.spans} == {TRACE}
    for stage in ("render", "encode", "mux", "store"):
        within = [span["parentSpanId"] for span in collector.named(stage)]
        assert set(within) == {span["spanId"] for span in chunks}
    for span in collector.spans:
        began, ended = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        assert int(root["startTimeUnixNano"]) <= began <= ended <= int(root["endTimeUnixNano"])
    named = {each["key"]: each["value"].get("stringValue") for each in collector.resources}
    assert named["service.name"] == "musetalk-stream"
    assert "somebody-by-name" not in json.dumps([collector.spans, collector.resources])


async def test_a_client_does_not_decide_whether_it_is_traced(
    begin: Begin, collector: Collector
) -> None:
    await traced(begin, collector, NumberRenderer(), flags="00")
    (root,) = collector.named("utterance")
    assert root["traceId"] == TRACE


async def test_a_failure_is_told_by_its_code(begin: Begin, collector: Collector) -> None:
    fails = NumberRenderer(fails_on=lambda avatar_id, frame: frame == 12)
    await traced(begin, collector, fails)
    (root,) = collector.named("utterance")
    assert attributes(root)["outcome"] == "render_failed"
    assert root["status"]["code"] in (2, "STATUS_CODE_ERROR")


async def test_a_collector_that_is_not_there_disturbs_nobody(serve: Serve) -> None:
    server = await serve(otlp_endpoint="http://127.0.0.1:9")
    heard = await server.speak(await server.create(), wav(tone(1.0)))
    assert heard[-1]["event"] == "complete"


async def test_an_endless_trace_of_nobody(serve: Serve) -> None:
    """What is no traceparent is left aside."""
    server = await serve()
    server.client.headers["traceparent"] = "zz-" + "0" * 4000
    async with asyncio.timeout(20):
        heard = await server.speak(await server.create(), wav(tone(0.2)))
    assert heard[-1]["event"] == "complete"


def test_off_there_is_nothing_of_it() -> None:
    code = (
        "import sys; from musetalk_stream.tracing import open_tracing; open_tracing(''); "
        "print([name for name in sys.modules if 'opentel' in name])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.json.http.trace_exporter", None)
    with pytest.raises(SetupError, match=r"pip install 'musetalk-stream\[tracing\]'"):
        open_tracing("http://127.0.0.1:4318")


@pytest.mark.parametrize("said", ["localhost:4318", "ftp://x", "http:///v1"])
def test_an_endpoint_is_an_address(said: str) -> None:
    with pytest.raises(SetupError, match="otlp_endpoint must begin with"):
        load({"otlp_endpoint": said}, environ={})
