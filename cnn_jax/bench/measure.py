"""Several ways to do the same work, timed in turns, so that a slow minute hits all of them."""

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Way(NamedTuple):
    """One thing to time; `start` may return before its work is done."""

    start: Callable[[], None]
    wait: Callable[[], None]  # until all that was started is done
    images: int  # that one `start` works through


def alternate(ways: dict[str, Way], rounds: int, least_seconds: float) -> dict[str, list[float]]:
    """Images per second of each way in each round.

    Every way is warmed up first, and repeated within a round until `least_seconds` have passed.
    """
    repeats = {}
    for name, way in ways.items():
        seconds_of(way, 1)
        repeats[name] = max(1, math.ceil(least_seconds / seconds_of(way, 1)))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            count = repeats[name]
            rates[name].append(count * way.images / seconds_of(way, count))
    return rates


def seconds_of(way: Way, count: int) -> float:
    """The time that `count` starts and their work take."""
    begin = time.perf_counter()
    for _ in range(count):
        way.start()
    way.wait()
    return time.perf_counter() - begin


def medians(rates: dict[str, list[float]]) -> dict[str, float]:
    """The middle one of the rounds."""
    return {name: statistics.median(values) for name, values in rates.items()}
