"""The tree of errors: what its docstring draws is what there is."""

import re
from collections.abc import Iterator

from musetalk_stream import errors
from musetalk_stream.errors import Busy, InvalidParameter, MuseTalkStreamError

_LINE = re.compile(r"^(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: +(?P<rest>.*))?$")


def subclasses(kind: type[MuseTalkStreamError]) -> Iterator[type[MuseTalkStreamError]]:
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from subclasses(each)


def drawn() -> dict[str, tuple[str, str]]:
    """Name -> name of its parent, and what is said about it."""
    assert errors.__doc__ is not None
    path: list[tuple[int, str]] = []
    tree = {}
    for line in errors.__doc__.splitlines():
        match = _LINE.match(line)
        if not match or not (match["indent"].strip() or match["name"] == "MuseTalkStreamError"):
            continue
        depth = len(match["indent"])
        path = [(at, name) for at, name in path if at < depth]
        tree[match["name"]] = (path[-1][1] if path else "", match["rest"] or "")
        path.append((depth, match["name"]))
    return tree


def test_docstring_draws_the_classes() -> None:
    kinds = subclasses(MuseTalkStreamError)
    actual = {kind.__name__: kind.__mro__[1].__name__ for kind in kinds}
    tree = {name: parent for name, (parent, _) in drawn().items() if parent}
    assert tree == actual


def test_docstring_says_status_and_code() -> None:
    for name, (_, rest) in drawn().items():
        kind = getattr(errors, name)
        if match := re.match(r"(\d{3})  (\S+)$", rest):
            assert (kind.status, kind.code) == (int(match[1]), match[2]), name


def test_codes_are_unique_and_stable_names() -> None:
    kinds: list[type[MuseTalkStreamError]] = [
        MuseTalkStreamError,
        *subclasses(MuseTalkStreamError),
    ]
    codes = [each.code for each in kinds]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_every_error_has_words() -> None:
    for kind in subclasses(MuseTalkStreamError):
        assert 400 <= kind.status < 600
        assert kind.title
    assert errors.NoAudioFile().detail == "No audio file"
    assert InvalidParameter("fps", "must be a number").detail == "fps: must be a number"


def test_who_may_come_back_is_told_when() -> None:
    assert Busy("full").retry_after_s == 1
    assert Busy.retryable
    assert all(kind.retryable for kind in subclasses(Busy))
