"""`GET /metrics`: names, labels and figures, as Prometheus reads them; the files that name them."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import NumberRenderer, tone, wav
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from servers import Begin, Serve, Server

DOCS = Path(__file__).parents[1] / "docs"
OURS = "musetalk_stream_"
# Prometheus' own rules for names: base units, and what a suffix says.
_UNITS = ("seconds", "bytes", "per_second")
_NOT_BASE = re.compile(r"_(ms|milliseconds|minutes|hours|kb|mb|kilobytes|megabytes|percent)(_|$)")


async def families(server: Server) -> dict[str, Metric]:
    """As Prometheus' own parser reads them, by name without what it adds for counters."""
    answer = await server.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"
    found = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in found}) == len(found), "each name once"
    return {family.name: family for family in found}


def figure(found: dict[str, Metric], name: str, **labels: str) -> float:
    """Of the one sample with this name and these labels."""
    family = next(each for each in found.values() if any(s.name == name for s in each.samples))
    values = [each.value for each in family.samples if (each.name, each.labels) == (name, labels)]
    assert len(values) == 1, (name, labels, values)
    return values[0]


async def test_names_follow_the_conventions(server: Server) -> None:
    found = await families(server)
    ours = [family for family in found.values() if family.name.startswith(OURS)]
    assert len(ours) > 30
    for family in ours:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert family.documentation
        assert not _NOT_BASE.search(family.name), family.name
        is_counter = family.type == "counter"
        assert all(s.name.endswith("_total") for s in family.samples) or not is_counter
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket")), family.name
        if family.type == "histogram":
            assert family.name.endswith(_UNITS), family.name


async def test_openmetrics_for_who_asks(server: Server) -> None:
    for accepted in (
        "application/openmetrics-text; version=1.0.0",
        "application/openmetrics-text;version=x",
    ):
        answer = await server.client.get("/metrics", headers={"Accept": accepted})
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")
        assert OURS + "ready" in {family.name for family in openmetrics(answer.text)}


async def test_an_utterance_is_counted(server: Server) -> None:
    session_id = await server.create(user_id="somebody-by-name")
    heard = await server.speak(session_id, wav(tone(3.0)))
    chunks = len(await server.chunks(heard))
    report = {"request_id": heard[0]["request_id"], "event": "started", "first_frame_ms": 300}
    for told in (report, {**report, "event": "stalled", "stalled_ms": 15}):
        answer = await server.client.post(f"/sessions/{session_id}/playback", json=told)
        assert answer.status_code == 204
    found = await families(server)
    assert figure(found, OURS + "utterances_total", outcome="complete") == 1
    assert figure(found, OURS + "chunks_total") == chunks
    assert figure(found, OURS + "encoded_frames_total") == 75
    assert figure(found, OURS + "first_chunk_seconds_count") == 1
    assert figure(found, OURS + "queue_wait_seconds_count") == 1
    for stage in ("render", "encode", "mux", "store"):
        assert figure(found, OURS + "chunk_stage_seconds_count", stage=stage) == chunks
        assert figure(found, OURS + "chunk_stage_seconds_sum", stage=stage) > 0
    assert figure(found, OURS + "player_first_frame_seconds_sum") == 0.3
    assert figure(found, OURS + "player_stalls_total") == 1
    assert figure(found, OURS + "player_stalled_seconds_total") == 0.015
    assert figure(found, OURS + "store_chunks") == chunks
    assert figure(found, OURS + "rendered_frames_total") == 75
    assert figure(found, OURS + "render_slots_total") >= 75
    assert figure(found, OURS + "received_bytes_total") > 3 * 48_000 * 2
    upload = {"method": "POST", "route": "/sessions/{session_id}/stream", "status": "2xx"}
    assert figure(found, OURS + "requests_total", **upload) == 1


async def test_stalls_that_can_not_be_are_not_counted(server: Server) -> None:
    """Whoever may watch may report; an alert is made of it."""
    session_id, began_s = await server.create(), time.monotonic()
    heard = await server.speak(session_id, wav(tone(1.0)))
    said = {"request_id": heard[0]["request_id"], "event": "stalled", "stalled_ms": 600_000}
    for _ in range(30):
        answer = await server.client.post(f"/sessions/{session_id}/playback", json=said)
        assert answer.status_code == 204
    found = await families(server)
    assert figure(found, OURS + "player_stalls_total") == 20
    passed_s = time.monotonic() - began_s
    assert 0 < figure(found, OURS + "player_stalled_seconds_total") <= passed_s


async def test_what_fails_is_counted_by_its_code(serve: Serve) -> None:
    server = await serve(NumberRenderer(fails_on=lambda avatar_id, frame: frame == 12))
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(3.0)))
    assert heard[-1]["event"] == "error"
    await server.client.get("/sessions/nobody")
    found = await families(server)
    assert figure(found, OURS + "utterances_total", outcome="failed") == 1
    assert figure(found, OURS + "utterance_errors_total", code=heard[-1]["code"]) == 1
    assert figure(found, OURS + "problems_total", code="session_not_found") == 1


async def test_event_streams_are_counted(server: Server) -> None:
    session_id = await server.create()
    async with (
        server.events(session_id) as first,
        server.events(session_id, last_event_id=99) as late,
    ):
        await first.next()
        assert (await late.next())["event"] == "reset"
        found = await families(server)
    assert figure(found, OURS + "event_subscribers") == 2
    assert figure(found, OURS + "event_reconnects_total") == 1
    assert figure(found, OURS + "event_resets_total") == 1
    assert figure(found, OURS + "sessions", state="idle") == 1


async def test_nothing_of_a_client_becomes_a_label(server: Server) -> None:
    session_id = await server.create(user_id="somebody-by-name")
    said = await server.speak(session_id, wav(tone(0.2)))
    hostile = ["/x-marks", "/avatars/x-marks", f"/sessions/{session_id}/x-marks?x-marks=1"]
    for path in hostile:
        await server.client.get(path, headers={"X-Request-Id": "x-marks"})
    await server.client.request("PURGE", "/avatars")
    text = (await server.client.get("/metrics")).text
    for secret in (
        "x-marks",
        "xmarks",
        "somebody-by-name",
        session_id[:8],
        said[0]["request_id"][:8],
    ):
        assert secret.lower() not in text.lower()
    assert f'{OURS}requests_total{{method="other"' in text


class SlowToLoad(NumberRenderer):
    def load(self, progress: Callable[[str], None]) -> None:
        while True:
            progress("loading")  # which ends it when the server does
            time.sleep(0.001)


async def test_it_answers_before_the_server_is_ready(begin: Begin) -> None:
    starting = await begin(SlowToLoad())
    found = await families(starting.server)
    assert figure(found, OURS + "ready") == 0
    assert OURS + "sessions" not in found


async def test_two_servers_in_a_process_count_for_themselves(serve: Serve, tmp_path: Path) -> None:
    folders = {name: tmp_path / f"another-{name}" for name in ("state_dir", "chunks_dir")}
    one, other = await serve(), await serve(**folders)
    await one.create()
    assert figure(await families(one), OURS + "sessions", state="idle") == 1
    assert figure(await families(other), OURS + "sessions", state="idle") == 0


# --- files that name metrics


async def names(server: Server) -> set[str]:
    """Of all samples that this server can have."""
    found = set()
    for family in (await families(server)).values():
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        found |= {family.name + end for end in ends.get(family.type, [""])}
    return found


def named(expression: str) -> set[str]:
    """The metrics of an expression in PromQL: what is no function, keyword or label."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"|\b(by|without) ?\([^)]*\)", " ", expression)
    return set(re.findall(r"\b(?:[a-z][a-z0-9]*_[a-z0-9_]*|up)\b(?!\()", bare))


def test_how_metrics_are_found_in_expressions() -> None:
    text = 'histogram_quantile(0.95, sum by (le, a_b) (rate(x_y_bucket{c_d="e_f"}[5m]))) > up_z'
    text += ' and up{a="b"} == 0'
    assert named(text) == {"x_y_bucket", "up_z", "up"}


async def test_the_dashboard_shows_metrics_that_exist(server: Server) -> None:
    dashboard = json.loads((DOCS / "operations/grafana.json").read_text())
    known, ids = await names(server), []
    for panel in dashboard["panels"]:
        ids.append(panel["id"])
        assert {"x", "y", "w", "h"} == set(panel["gridPos"])
        for target in panel.get("targets", []):
            assert named(target["expr"]) <= known, target["expr"]
    assert len(set(ids)) == len(ids)
    assert dashboard["schemaVersion"] >= 36
    assert {"title", "uid", "time", "templating"} <= set(dashboard)


async def test_alerts_watch_metrics_that_exist(server: Server) -> None:
    text = (DOCS / "operations/alerts.yml").read_text()
    expressions = re.findall(r"^\s+expr: (.+)$", text, re.MULTILINE)
    assert len(expressions) == text.count("- alert: ") >= 8
    known = await names(server) | {"up"}  # which Prometheus knows of whom it asks
    for expression in expressions:
        assert named(expression), expression
        assert named(expression) <= known, expression


def test_somebody_is_told_of_a_server_that_is_dead() -> None:
    """It has no figures then: only Prometheus knows. By the name under which it is asked."""
    (job,) = re.findall(r"job_name: (\S+)", (DOCS / "operations/prometheus.yml").read_text())
    assert f'expr: up{{job="{job}"}} == 0\n' in (DOCS / "operations/alerts.yml").read_text()


async def test_the_page_for_operators_names_all_metrics(server: Server) -> None:
    section = (DOCS / "operations.md").read_text().partition("\n## Watching it\n")[2]
    section = re.split(r"\n## ", section)[0]
    documented = set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE))
    ours = {family.name for family in (await families(server)).values() if OURS in family.name}
    counters = {name for name in await names(server) if name.endswith("_total")}
    told = {name + "_total" if name + "_total" in counters else name for name in ours}
    assert documented == {name.removeprefix(OURS) for name in told}


@pytest.mark.parametrize("said", ["a-1_B.2:/+=", "x" * 64])
async def test_a_request_keeps_the_id_that_its_client_gave_it(server: Server, said: str) -> None:
    for path in ("/healthz", "/nowhere", "/sessions/stats"):
        answer = await server.client.get(path, headers={"X-Request-Id": said})
        assert answer.headers["X-Request-Id"] == said


@pytest.mark.parametrize("said", [None, b"", b"x" * 65, b"a b", b'a"b', "ä".encode()])
async def test_a_request_without_an_id_that_can_be_taken_gets_one(
    server: Server, said: bytes | None
) -> None:
    headers = [] if said is None else [(b"X-Request-Id", said)]
    first, second = [
        (await server.client.get("/healthz", headers=headers)).headers["X-Request-Id"]
        for _ in range(2)
    ]
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert first != second


async def test_every_kind_of_answer_has_an_id(server: Server) -> None:
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(0.2)))
    chunk = next(event["url"] for event in heard if event["event"] == "chunk")
    for path in (chunk, "/", "/avatars/tiny/video", f"/sessions/{session_id}/master.m3u8"):
        assert (await server.client.get(path)).headers["X-Request-Id"]
    async with server.events(session_id) as events:
        assert events.response.headers["X-Request-Id"]
