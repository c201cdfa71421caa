"""How log lines look: for people, or as one JSON object each."""

import json
import logging
from datetime import UTC, datetime

from .request_context import LOGGED

# What every record has; anything else was given as `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def set_up_logging(level: str, form: str) -> None:
    """All lines go to stderr. `level`: least severe one shown; `form`: `text` or `json`."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(True)


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00,123 INFO message [3f2a…]`: with the id of the request, if there is one.
    Further lines, of tracebacks too, are indented: what a client says can't look like one of ours.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        asked, line = LOGGED[0].get(), super().formatMessage(record)
        return f"{line} [{asked}]" if asked else line

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\r", "\\r").replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One object per line: time (RFC 3339, UTC), level, logger, message, then what is known of
    request_id, session_id, utterance_id, route, what the caller added, and exception."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {var.name: value for var in LOGGED if (value := var.get())}
        usual = _USUAL | line.keys()
        line |= {name: value for name, value in vars(record).items() if name not in usual}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)
