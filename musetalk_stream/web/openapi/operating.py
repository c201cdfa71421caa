"""What is told of the server itself, and its pages."""

from ...batcher import BatcherStatistics
from ...stats import EngineStatistics
from ...store import StoreStatistics
from .parts import (
    BOOLEAN,
    BYTES,
    COUNT,
    HTML,
    INTEGER,
    JSON,
    NUMBER,
    STRING,
    Answer,
    Operation,
    Schema,
    answers,
    array,
    of_dataclass,
    record,
    ref,
)

_METRICS = ("text/plain", "application/openmetrics-text")


def operations() -> dict[str, Operation]:
    return {
        **_pages(),
        "GET /metrics": Operation(
            "operating",
            "How the server is doing, for Prometheus",
            {200: Answer("Prometheus or OpenMetrics text", dict.fromkeys(_METRICS, STRING))},
            errors=("foreign_origin",),
        ),
        "GET /sessions/stats": Operation(
            "operating",
            "All sessions, and what the engine does",
            answers(200, "Statistics", "Figures since the start, or of the last 10 s"),
            errors=("foreign_origin",),
        ),
        "GET /healthz": Operation(
            "operating",
            "Whether the process can do its work, or only a restart helps",
            {
                200: Answer("It can", {JSON: ref("Health")}),
                503: Answer("It can't", {JSON: ref("Health")}),
            },
        ),
        "GET /readyz": Operation(
            "operating",
            "Whether sessions can be taken, and if not, why",
            {
                200: Answer("They can", {JSON: ref("Health")}),
                503: Answer("They can't", {JSON: ref("Health")}, {"Retry-After": "seconds"}),
            },
        ),
        "GET /openapi.json": Operation(
            "operating",
            "This document",
            {
                200: Answer("OpenAPI 3.1", {"application/openapi+json": {"type": "object"}}),
                304: Answer("You have it already"),
            },
            errors=("precondition_failed",),
        ),
    }


def _pages() -> dict[str, Operation]:
    file = Answer("The file", {"text/css": BYTES, "text/javascript": BYTES})
    return {
        **_page("The start page", "/"),
        **_page("The player of a session", "/player/session/{session_id}"),
        **_page("What the device that opens it can do", "/player/selftest"),
        "GET /docs": Operation(
            "pages",
            "This document, for people",
            {200: Answer("The page", {HTML: STRING}), 304: Answer("You have it already")},
            errors=("precondition_failed",),
        ),
        "GET /client/{filename}": Operation(
            "pages",
            "The player and the client library, as ES modules",
            {200: file},
            errors=("not_found",),
            is_file=True,
        ),
        "GET /static/{filename}": Operation(
            "pages",
            "The pages' scripts and styles",
            {200: file},
            errors=("not_found",),
            is_file=True,
        ),
    }


def _page(summary: str, path: str, *errors: str) -> dict[str, Operation]:
    page = Answer("the page", {HTML: STRING})
    return {f"GET {path}": Operation("pages", summary, {200: page}, errors=errors)}


def schemas() -> dict[str, Schema]:
    return {
        "Problem": {
            **record(
                type=STRING,
                title=STRING,
                status=INTEGER,
                detail={**STRING, "description": "what is wrong, and what to do next"},
                code={**STRING, "description": "stable: switch on this"},
                retryable={
                    **BOOLEAN,
                    "description": "whether the same request may succeed later, without doing "
                    "twice what was done in part",
                },
            ),
            "description": "RFC 9457",
        },
        "Health": record({"detail": STRING}, status=STRING),
        "Statistics": _statistics(),
    }


def _statistics() -> Schema:
    engine = of_dataclass(EngineStatistics), of_dataclass(BatcherStatistics)
    figures = {name: each for kind in engine for name, each in kind["properties"].items()}
    return record(
        total_sessions=COUNT,
        active_streams=COUNT,
        sessions=array(ref("SessionListed")),
        engine=record(**figures, reserved_fps=NUMBER, reserved_lips_fps=NUMBER),
        store=of_dataclass(StoreStatistics),
    )
