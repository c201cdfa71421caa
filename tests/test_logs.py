"""Log lines: what is in them, of whom, and what never is."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from fakes import NumberRenderer, tone, wav
from servers import Serve, Server

from musetalk_stream.logs import JsonFormatter, TextFormatter
from musetalk_stream.request_context import about_session, about_utterance, asked

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("a.logger", logging.WARNING, "a.py", 1, message, args, None)
    vars(made).update(extra)
    return made


def test_a_line_is_one_object() -> None:
    line = JsonFormatter().format(record("two\nlines and %s", "ä \u2028 \x00"))
    assert "\n" not in line
    told = json.loads(line)
    assert list(told) == ["time", "level", "logger", "message"]
    assert _TIME.fullmatch(told["time"])
    assert (told["level"], told["logger"]) == ("warning", "a.logger")
    assert told["message"] == "two\nlines and ä \u2028 \x00"


def test_on_whose_behalf() -> None:
    with asked("req-1", "/sessions/{session_id}"):
        about_session("0123456789abcdef")
        about_utterance("fedcba98-and-more")
        told = json.loads(JsonFormatter().format(record("x", duration_ms=3.5)))
        text = TextFormatter().format(record("x"))
    assert told["request_id"] == "req-1"
    assert (told["session_id"], told["utterance_id"]) == ("01234567", "fedcba98")
    assert (told["route"], told["duration_ms"]) == ("/sessions/{session_id}", 3.5)
    assert text.endswith("WARNING x [req-1]")
    after = json.loads(JsonFormatter().format(record("x")))
    assert not {"request_id", "session_id", "utterance_id", "route"} & set(after)


def test_an_exception_is_one_string() -> None:
    made = record("it failed")
    try:
        raise ValueError("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    told = json.loads(JsonFormatter().format(made))
    assert told["exception"].startswith("Traceback")
    assert told["exception"].endswith("ValueError: why")


def test_what_a_client_says_can_not_look_like_a_line() -> None:
    text = TextFormatter().format(record("name is %s", "x\n2026-01-01 00:00:00 ERROR forged\r"))
    assert [line.startswith("    ") for line in text.splitlines()] == [False, True]


def test_nor_can_what_an_exception_says() -> None:
    made = record("it failed")
    try:
        raise ValueError("a\n2026-01-01 00:00:00,000 INFO forged")
    except ValueError:
        made.exc_info = sys.exc_info()
    made.stack_info = "Stack:\n  at x"
    first, *others = TextFormatter().format(made).splitlines()
    assert first.endswith("WARNING it failed")
    assert "forged" in others[-3]
    assert all(line.startswith("    ") for line in others)


def test_extras_are_not_taken_for_what_we_say() -> None:
    told = json.loads(JsonFormatter().format(record("x", level="debug", time="never", more=1)))
    assert (told["level"], told["message"], told["more"]) == ("warning", "x", 1)
    assert _TIME.fullmatch(told["time"])


class Kept(logging.Handler):
    """Formats lines where they are made, as a real handler does."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def kept() -> Iterator[Kept]:
    ours, handler = logging.getLogger("musetalk_stream"), Kept()
    before = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    yield handler
    ours.removeHandler(handler)
    ours.setLevel(before)


async def test_lines_of_an_utterance_have_the_id_of_its_upload(server: Server, kept: Kept) -> None:
    session_id = await server.create()
    server.client.headers["X-Request-Id"] = "my-upload"
    heard = await server.speak(session_id, wav(tone(1.0)))
    spoken = [line for line in kept.lines if "s spoken" in str(line["message"])]
    assert [line["request_id"] for line in spoken] == ["my-upload"]
    assert spoken[0]["session_id"] == session_id[:8]
    assert spoken[0]["utterance_id"] == heard[0]["request_id"][:8]
    assert spoken[0]["route"] == "/sessions/{session_id}/stream"


async def test_a_line_per_request_for_who_wants_it(server: Server, kept: Kept) -> None:
    await server.client.get("/avatars/x", params={"token": "secret-token"})
    (line,) = [each for each in kept.lines if each["logger"] == "musetalk_stream.web.telemetry"]
    assert (line["method"], line["route"], line["outcome"]) == (
        "GET",
        "/avatars/{avatar_id}",
        "4xx",
    )
    assert isinstance(line["duration_ms"], float)
    assert line["sent_bytes"] > 100  # type: ignore[operator]


async def test_what_opens_something_is_never_told(serve: Serve, kept: Kept) -> None:
    server = await serve(NumberRenderer(fails_on=lambda avatar_id, frame: frame == 12))
    session_id = await server.create(user_id="somebody-by-name")
    secret = {"params": {"token": "a-token"}, "headers": {"Authorization": "Bearer a-key"}}
    await server.client.get(f"/sessions/{session_id}", **secret)  # type: ignore[arg-type]
    heard = await server.speak(session_id, wav(tone(3.0)))
    await server.client.delete(f"/sessions/{session_id}")
    everything = json.dumps(kept.lines)
    assert "a frame can't be rendered" in everything or "failed" in everything
    for told in ("somebody-by-name", "a-token", "a-key", session_id, heard[0]["request_id"]):
        assert told not in everything


def test_the_setting_chooses_the_form() -> None:
    code = (
        "import logging; from musetalk_stream.logs import set_up_logging; "
        "set_up_logging('warning', 'json'); logging.info('no'); logging.warning('a %s', 'b')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = map(json.loads, run.stderr.splitlines())
    assert line["message"] == "a b"
    assert _TIME.fullmatch(line["time"])
