"""Times several ways to do the same work, in turns, so that a slow minute affects all of them."""

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Way(NamedTuple):
    """A way to do the work; `start` may return before the work is done."""

    start: Callable[[], None]
    wait: Callable[[], None]  # until all work that was started is done
    images: int  # of one `start`


def alternate(
    ways: dict[str, Way],
    rounds: int,
    least_seconds: float,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[float]]:
    """Images per second of each way in each round.

    Every way is warmed up first, and repeated within a round until `least_seconds` have passed.
    `on_progress` is called with the number of measurements that are done, and of all.
    """
    repeats = {}
    on_progress(0, rounds * len(ways))
    for name, way in ways.items():
        seconds_of(way, 1)
        repeats[name] = max(1, math.ceil(least_seconds / seconds_of(way, 1)))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for place, (name, way) in enumerate(ways.items()):
            on_progress(number * len(ways) + place, rounds * len(ways))
            count = repeats[name]
            rates[name].append(count * way.images / seconds_of(way, count))
    return rates


def seconds_of(way: Way, count: int) -> float:
    """The seconds that `count` starts and their work take."""
    begin = time.perf_counter()
    for _ in range(count):
        way.start()
    way.wait()
    return time.perf_counter() - begin


def medians(rates: dict[str, list[float]]) -> dict[str, float]:
    """The median of the rounds, by way."""
    return {name: statistics.median(values) for name, values in rates.items()}
