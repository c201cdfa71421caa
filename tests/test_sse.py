"""Events as bytes, read back by the rules of the WHATWG standard."""

import json

import pytest

from musetalk_stream.sse import PING, RETRY, encode_event, parse_event_id


def read(stream: bytes) -> list[dict[str, str]]:
    """The messages in a stream, by WHATWG HTML 9.2.6; a block without data is none."""
    messages = []
    fields: dict[str, str] = {}
    for line in stream.decode().split("\n"):
        if not line:
            if "data" in fields:
                messages.append(fields)
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value
    return messages


def test_an_event_is_one_line_with_its_id() -> None:
    message = encode_event({"event": "chunk", "url": "/a"}, 7)
    assert message == b'id: 7\ndata: {"event":"chunk","url":"/a"}\n\n'


def test_an_event_outside_the_log_has_no_id() -> None:
    assert encode_event({"event": "state"}) == b'data: {"event":"state"}\n\n'


def test_no_text_breaks_out_of_its_line() -> None:
    nasty = "a\nb\r\nid: 99\n\ndata: x \u2028 \u0085 \U0001f600"
    (message,) = read(encode_event({"event": "error", "message": nasty}, 1))
    assert message["id"] == "1"
    assert json.loads(message["data"])["message"] == nasty


def test_what_json_has_no_word_for_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_event({"event": "chunk", "start": float("nan")})


def test_retry_comes_first_and_is_no_message() -> None:
    assert read(RETRY) == []
    (message,) = read(RETRY + encode_event({"event": "state"}))
    assert message["retry"] == "1000"


def test_a_ping_is_a_comment_and_an_event() -> None:
    assert PING.startswith(b":")
    assert [json.loads(message["data"]) for message in read(PING)] == [{"event": "ping"}]


@pytest.mark.parametrize(
    ("text", "event_id"),
    [
        ("0", 0),
        ("17", 17),
        ("007", 7),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("1e3", None),
        (" 1", None),
        ("٣", None),
        ("1" * 5000, None),
        ("chunk", None),
    ],
)
def test_only_our_own_ids_are_read(text: str | None, event_id: int | None) -> None:
    assert parse_event_id(text) == event_id
