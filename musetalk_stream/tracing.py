"""How utterances are told to a tracing system (OpenTelemetry, OTLP over HTTP): a span of each, with
one for every step and every chunk. Nothing in them is of a user: no text, no id of theirs.

Off, there is nothing of it: the library is not even imported.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import __version__, request_context
from .errors import MuseTalkStreamError, SetupError
from .laps import Laps

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

_PATH = "/v1/traces"  # OTLP/HTTP
_EXPORT_TIMEOUT_S = 5.0  # a collector that does not answer holds up nobody longer, not at the end
_SHOWN = 8  # of an id: who has all of it can fetch the chunks


class Trace:
    """What an utterance does, told to nobody."""

    def first_chunk(self, began_s: float, ended_s: float) -> None:
        """Its first chunk was announced. Instants are of the monotonic clock."""

    def chunk(self, index: int, laps: Laps) -> None:
        """A chunk was made."""


class Tracing:
    """Where traces go: nowhere."""

    @contextmanager
    def utterance(
        self, utterance_id: str, *, received_s: float, heard_s: float, begun_s: float
    ) -> Iterator[Trace]:
        """An utterance is spoken in the block.

        received_s  when its upload began, heard_s: when its first sound was there, begun_s: when
                    its turn had come; instants of the monotonic clock
        """
        yield Trace()

    def close(self) -> None:
        """Send what is left. Blocking, and bounded."""


class ExportedTracing(Tracing):
    """Spans wait to be sent, 2048 at most; further ones are left out, and the log says so."""

    def __init__(self, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        named = {"service.name": "musetalk-stream", "service.version": __version__}
        # Clients say which trace theirs is part of, not whether there is one.
        self._provider = TracerProvider(ALWAYS_ON, resource=Resource.create(named))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("musetalk_stream", __version__)

    @contextmanager
    def utterance(
        self, utterance_id: str, *, received_s: float, heard_s: float, begun_s: float
    ) -> Iterator[Trace]:
        trace = _Spans(self._tracer, received_s)
        trace.about({"utterance": utterance_id[:_SHOWN]})
        trace.about({"request_id": request_context.request_id.get()})
        trace.step("hear", received_s, heard_s)
        trace.step("wait", heard_s, begun_s)
        outcome = "complete"
        try:
            yield trace
        except MuseTalkStreamError as exc:
            outcome = exc.code
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except BaseException:
            outcome = "internal_error"
            raise
        finally:
            trace.end(outcome)

    def close(self) -> None:
        self._provider.shutdown()


class _Spans(Trace):
    def __init__(self, tracer: Tracer, received_s: float) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracer = tracer
        # Spans are on the wall clock, steps on one that does not jump.
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._root = tracer.start_span("utterance", _parent(), start_time=self._ns(received_s))
        self._within = set_span_in_context(self._root)
        self._chunks = 0

    def _ns(self, instant_s: float) -> int:
        return int(instant_s * 1e9) + self._offset_ns

    def about(self, attributes: Mapping[str, str | int]) -> None:
        self._root.set_attributes(attributes)

    def step(
        self, name: str, began_s: float, ended_s: float, within: Context | None = None
    ) -> None:
        span = self._tracer.start_span(name, within or self._within, start_time=self._ns(began_s))
        span.end(self._ns(ended_s))

    def first_chunk(self, began_s: float, ended_s: float) -> None:
        self.step("first chunk", began_s, ended_s)

    def chunk(self, index: int, laps: Laps) -> None:
        from opentelemetry.trace import set_span_in_context

        first, last = laps.passed[0], laps.passed[-1]
        span: Span = self._tracer.start_span(
            "chunk", self._within, attributes={"index": index}, start_time=self._ns(first.began_s)
        )
        within = set_span_in_context(span)
        for lap in laps.passed:
            self.step(lap.stage, lap.began_s, lap.ended_s, within)
        span.end(self._ns(last.ended_s))
        self._chunks += 1

    def end(self, outcome: str) -> None:
        from opentelemetry.trace import StatusCode

        self.about({"outcome": outcome, "chunks": self._chunks})
        if outcome not in ("complete", "cancelled"):
            self._root.set_status(StatusCode.ERROR, outcome)
        self._root.end()


def _parent() -> Context:
    """Of the request that brought the sound, if it is part of a trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": request_context.traceparent.get()}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def open_tracing(endpoint: str) -> Tracing:
    """`endpoint`: of a collector; empty for none. Raises SetupError where what it takes is not
    installed."""
    if not endpoint:
        return Tracing()
    try:
        from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
    except ImportError as exc:
        raise SetupError(
            f"otlp_endpoint is set, and {exc.name} is not installed: "
            "pip install 'musetalk-stream[tracing]'"
        ) from exc
    address = endpoint.rstrip("/")
    address += "" if address.endswith(_PATH) else _PATH
    return ExportedTracing(OTLPSpanExporter(endpoint=address, timeout=_EXPORT_TIMEOUT_S))
