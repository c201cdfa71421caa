"""Fields of a network's JSON configuration. ValueError names the one that can't be used."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


def whole(config: Json, name: str) -> int:
    """A positive integer."""
    value = config.get(name)
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} is {value!r}; a positive integer is needed")
    return value


def wholes(config: Json, name: str) -> tuple[int, ...]:
    """A list of positive integers, at least two."""
    values = config.get(name)
    if not isinstance(values, list) or len(values) < 2:
        raise ValueError(f"{name} is {values!r}; a list of two or more integers is needed")
    return tuple(whole({name: value}, name) for value in values)


def dividing(config: Json, name: str, widths: Sequence[int]) -> int:
    """A positive integer that splits each of `widths` into equal parts."""
    value = whole(config, name)
    if any(width % value for width in widths):
        raise ValueError(f"{name} is {value}, which does not divide {', '.join(map(str, widths))}")
    return value


def small(config: Json, name: str) -> float:
    """A number between 0 and 1."""
    value = config.get(name)
    if not isinstance(value, float) or not 0 < value < 1:
        raise ValueError(f"{name} is {value!r}; a number between 0 and 1 is needed")
    return value


def choices(config: Json, name: str, known: Mapping[str, bool], length: int) -> tuple[bool, ...]:
    """A list of `length` names, each looked up in `known`."""
    values = config.get(name)
    if not isinstance(values, list) or len(values) != length:
        raise ValueError(f"{name} is {values!r}; a list of {length} is needed")
    for value in values:
        if value not in known:
            raise ValueError(f"{name} holds {value!r}; supported: {', '.join(known)}")
    return tuple(known[value] for value in values)


def only(config: Json, supported: Json) -> None:
    """Refuse a field that is there and says something else than what is supported."""
    for name, value in supported.items():
        if config.get(name, value) != value:
            raise ValueError(f"{name} is {config[name]!r}; only {value!r} is supported")
