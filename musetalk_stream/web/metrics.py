"""`GET /metrics`: how the server is doing, for Prometheus.

Everything is counted where it happens, by plain figures; here they are gathered when somebody asks.
Labels are of our own words: routes, codes, states. Nothing of a client becomes one.
"""

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from .. import __version__
from ..distribution import Distribution
from ..loop_watch import LoopWatch
from ..session_state import State
from ..stats import EngineStats
from .api import why_not_ready
from .context import CONFIG, LOOP_WATCH, READINESS, Services
from .listen import CONNECTIONS, ConnectionCounts
from .sending import SENDING
from .telemetry import TRAFFIC, Traffic

_PREFIX = "musetalk_stream_"


async def metrics(request: web.Request) -> web.Response:
    app = request.app
    free = await asyncio.to_thread(_free_bytes, app[CONFIG].storage.chunks_dir)
    registry = CollectorRegistry()
    registry.register(_Everything(app, free))
    ProcessCollector(registry=registry)
    if "application/openmetrics-text" in request.headers.get(hdrs.ACCEPT, ""):
        body, kind = openmetrics.generate_latest(registry), openmetrics.CONTENT_TYPE_LATEST
    else:
        body, kind = generate_latest(registry), CONTENT_TYPE_LATEST
    headers = {hdrs.CONTENT_TYPE: kind, hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=body, headers=headers)


def _free_bytes(folder: Path) -> int | None:
    """Room on the disk of the chunks; None if that can't be asked. May block."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


class _Everything(Collector):
    def __init__(self, app: web.Application, free_bytes: int | None) -> None:
        self._app = app
        self._free_bytes = free_bytes

    def collect(self) -> Iterator[Metric]:
        its = self._app[READINESS].services
        is_ready = why_not_ready(self._app[READINESS]) is None
        renderer = self._app[CONFIG].engine.renderer
        yield _build_info(renderer)
        yield _gauge("ready", "1 while sessions are taken", {"": is_ready})
        yield from _of_traffic(self._app[TRAFFIC])
        most = self._app[CONFIG].http.max_connections
        yield from _of_connections(self._app[CONNECTIONS], most, self._app[SENDING].cut_off)
        yield from _of_event_loop(self._app[LOOP_WATCH])
        if self._free_bytes is not None:
            yield _gauge(
                "disk_free_bytes", "Room on the disk of the chunks", {"": self._free_bytes}
            )
        if its is not None:
            yield from _of_sessions(its)
            yield from _of_engine(its)
            limit_mb = self._app[CONFIG].storage.chunk_store_mb
            yield _gauge(
                "store_limit_bytes", "Bytes of chunks that may be kept", {"": limit_mb * 10**6}
            )
            yield from _of_utterances(its.stats)
            yield from _of_players(its.stats)


def _build_info(renderer: str) -> Metric:
    meaning = "Always 1; which version this is, and what renders"
    family = GaugeMetricFamily(_PREFIX + "build_info", meaning, labels=("version", "renderer"))
    family.add_metric((__version__, renderer), 1)
    return family


def _of_connections(counts: ConnectionCounts, most: int, cut_off: int) -> Iterator[Metric]:
    yield _gauge("connections", "Open connections", {"": counts.num_open})
    yield _gauge("connections_limit", "Connections that there may be", {"": most})
    refused, not_http = {"": counts.num_refused}, {"": counts.num_not_http}
    yield _counter("connections_refused", "Connections beyond what there may be", refused)
    yield _counter("connections_not_http", "Connections over which came no HTTP", not_http)
    yield _counter("connections_cut_off", "Connections of clients that took no more", {"": cut_off})


def _of_traffic(traffic: Traffic) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        _PREFIX + "requests",
        "Requests that are over, by what became of them; gone: the client left before",
        labels=("method", "route", "status"),
    )
    for labels, count in traffic.requests.items():
        requests.add_metric(labels, count)
    yield requests
    yield _counter("problems", "Errors that were answered, by code", traffic.problems, "code")
    yield _counter("received_bytes", "Bytes of requests' bodies", {"": traffic.received_bytes})
    yield _counter("sent_bytes", "Bytes of answers", {"": traffic.sent_bytes})


def _of_event_loop(watch: LoopWatch) -> Iterator[Metric]:
    yield _histogram(
        "event_loop_lag_seconds", "How long the event loop took to answer", {"": watch.lags}
    )
    stalls = {"": watch.stalls}
    yield _counter("event_loop_stalls", "Half a second and more without a turn", stalls)


def _of_sessions(its: Services) -> Iterator[Metric]:
    sessions = its.registry.all()
    by_state = {state.value: 0 for state in State if state is not State.CLOSED}
    for session in sessions:
        by_state[session.state.value] += 1
    yield _gauge("sessions", "Open sessions, by what they do", by_state, "state")
    begun = {"created": its.registry.created, "resumed": its.registry.resumed}
    yield _counter("sessions_begun", "Sessions, by where they come from", begun, "how")
    waiting = sum(session.num_waiting for session in sessions)
    yield _gauge("utterances_waiting", "Utterances that wait for their turn", {"": waiting})
    subscribers = sum(session.subscribers for session in sessions)
    yield _gauge("event_subscribers", "Open event streams of sessions", {"": subscribers})
    yield _gauge(
        "reserved_frames_per_second",
        "Frames that sessions may ask for when all of them speak",
        {"": its.registry.reserved.output},
    )


def _of_engine(its: Services) -> Iterator[Metric]:
    figures, store = its.batcher.statistics(), its.store.statistics()
    yield _gauge("renderer_up", "1 while frames can be rendered", {"": its.batcher.lost is None})
    yield _counter(
        "renderer_restarts", "Renderers that took a lost one's place", {"": its.supervisor.restarts}
    )
    yield _gauge(
        "decoders_up",
        "1 while sound files can be decoded",
        {"": its.decoders.processes.lost is None},
    )
    yield _gauge("recordings_kept", "Recordings that are kept", {"": len(its.recordings.all())})
    yield _gauge(
        "capacity_frames_per_second", "Frames that can be made", {"": figures.capacity_fps}
    )
    yield _gauge(
        "render_queue_frames", "Frames that wait for a batch", {"": figures.frames_waiting}
    )
    yield _counter("rendered_frames", "Mouths rendered", {"": figures.frames_rendered})
    yield _counter("render_batches", "Batches rendered", {"": figures.batches})
    yield _counter(
        "render_slots", "Places in these batches; what is no frame is padding", {"": figures.slots}
    )
    yield _gauge("store_bytes", "Bytes of chunks kept", {"": store.bytes})
    yield _gauge("store_chunks", "Chunks kept", {"": store.chunks})


def _of_utterances(stats: EngineStats) -> Iterator[Metric]:
    outcomes = {
        "complete": stats.completed,
        "failed": stats.failed,
        "cancelled": stats.cancelled,
    }
    yield _counter("utterances", "Utterances, by their end", outcomes, "outcome")
    yield _counter(
        "utterance_errors", "Utterances that failed, by the error's code", stats.failures, "code"
    )
    yield _counter("chunks", "Chunks made", {"": stats.chunks})
    yield _counter("late_chunks", "Chunks that viewers had to wait for", {"": stats.late_chunks})
    yield _counter("encoded_frames", "Frames in these chunks", {"": stats.frames})
    yield _histogram(
        "queue_wait_seconds", "From an utterance's first sound to its turn", {"": stats.queue_wait}
    )
    yield _histogram(
        "first_chunk_seconds",
        "From when an utterance could be spoken to its first chunk announced",
        {"": stats.to_first_chunk},
    )
    yield _histogram(
        "chunk_stage_seconds", "Of making a chunk, by stage; with waiting", stats.stages, "stage"
    )
    yield _histogram(
        "chunk_lateness_seconds", "By how much viewers waited for a chunk", {"": stats.lateness}
    )


def _of_players(stats: EngineStats) -> Iterator[Metric]:
    """What players report, and what they do with event streams."""
    yield _histogram(
        "player_first_frame_seconds",
        "From the upload of an utterance to its first painted frame, as players say",
        {"": stats.first_frame},
    )
    yield _counter("player_stalls", "Stalls that players reported", {"": stats.stalls})
    yield _counter("player_stalled_seconds", "How long they were", {"": stats.stalled_s})
    yield _counter("event_reconnects", "Event streams that went on", {"": stats.reconnects})
    yield _counter(
        "event_resets", "Event streams whose next events were gone already", {"": stats.resets}
    )


def _gauge(name: str, meaning: str, values: Mapping[str, float], label: str = "") -> Metric:
    """`values` by the value of `label`, or one of "" without a label."""
    return _filled(GaugeMetricFamily(_PREFIX + name, meaning, labels=_labels(label)), values)


def _counter(name: str, meaning: str, values: Mapping[str, float], label: str = "") -> Metric:
    return _filled(CounterMetricFamily(_PREFIX + name, meaning, labels=_labels(label)), values)


def _histogram(
    name: str, meaning: str, values: Mapping[str, Distribution], label: str = ""
) -> Metric:
    family = HistogramMetricFamily(_PREFIX + name, meaning, labels=_labels(label))
    for value, spread in values.items():
        buckets = [(floatToGoString(bound), count) for bound, count in spread.cumulative()]
        family.add_metric(_values(value), buckets, spread.sum)
    return family


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> Metric:
    for value, figure in values.items():
        family.add_metric(_values(value), figure)
    return family


def _labels(label: str) -> tuple[str, ...]:
    return (label,) if label else ()


def _values(value: str) -> Sequence[str]:
    return (value,) if value else ()
