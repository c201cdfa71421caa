"""Rates: so much at once, then so much per second, of as many names as there is room for."""

import math
import random

import pytest

from musetalk_stream.rates import RateLimit


def test_what_comes_at_once_and_what_comes_after() -> None:
    limit = RateLimit(per_s=2, at_once=5)
    assert [limit.take("a", 1, 100.0) for _ in range(5)] == [0] * 5
    assert limit.take("a", 1, 100.0) == pytest.approx(0.5)
    assert limit.num_refused == 1
    assert limit.take("b", 1, 100.0) == 0, "others have their own"
    assert limit.take("a", 1, 100.4) == pytest.approx(0.1), "what is refused costs nothing"
    assert limit.take("a", 1, 100.5) == 0
    assert [limit.take("a", 1, 200.0) for _ in range(6)][-2:] == [0, pytest.approx(0.5)]


def test_the_wait_it_names_is_exact() -> None:
    rng = random.Random(3)
    limit, now_s = RateLimit(per_s=3, at_once=7), 1000.0
    refused = 0
    for _ in range(2000):
        now_s += rng.expovariate(3)
        units = rng.choice((0.1, 1, 2.5, 7))
        if wait_s := limit.take("a", units, now_s):
            refused += 1
            assert limit.wait_s("a", units, now_s + wait_s - 0.001) > 0
            now_s += wait_s
            assert limit.take("a", units, now_s) == 0
    assert refused > 100


def test_never_more_than_the_rate_in_the_long_run() -> None:
    limit, now_s, taken = RateLimit(per_s=10, at_once=20), 0.0, 0
    for _ in range(10_000):
        now_s += 0.01
        taken += limit.take("a", 1, now_s) == 0
    assert taken == pytest.approx(20 + 10 * now_s, abs=2)


def test_what_can_not_be_refused_any_more() -> None:
    limit = RateLimit(per_s=2, at_once=5)
    limit.use("a", 3, 100.0)
    assert limit.wait_s("a", 3, 100.0) == pytest.approx(0.5)
    limit.use("a", 1000, 100.0)
    assert limit.wait_s("a", 1, 100.0) == pytest.approx(0.5), "as far as it was there"
    assert limit.num_refused == 0


def test_what_there_never_is() -> None:
    limit = RateLimit(per_s=1, at_once=4)
    assert math.isinf(limit.take("a", 5, 0.0))
    assert limit.take("a", 4, 0.0) == 0


def test_names_beyond_the_most_push_out_who_asked_least_lately() -> None:
    limit = RateLimit(per_s=0.001, at_once=1, most_names=3)
    for name in "abc":
        assert limit.take(name, 1, 0.0) == 0
    assert limit.take("a", 1, 0.0) > 0, "asks, and so stays"
    assert limit.take("d", 1, 0.0) == 0
    assert limit.num_names == 3
    assert limit.take("a", 1, 0.0) > 0
    assert limit.take("b", 1, 0.0) == 0, "was forgotten"
