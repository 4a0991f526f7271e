"""In what a run departs from its paper's recipe: a shortened one is never taken for the paper's."""

import re
from collections.abc import Mapping
from typing import Any

from cnn_jax import config as configs
from cnn_jax.optim import schedules

# What changes no result beyond rounding: where things lie, and when they are looked at.
NEUTRAL = re.compile(
    r"seed|data\.(path|storage|decoder|threads|workers|prefetch)|parallel\..*|model\.(unroll|remat)"
    r"|training\.(checkpoint_every|steps_per_dispatch|duration)"
    r"|evaluation\.(every|batch_size|splits)"
)
ABSENT = "absent"  # as `configs.changes` says it


def departures(
    paper: Mapping[str, Any],
    config: Mapping[str, Any],
    last: Mapping[str, float] | None,
    is_done: bool,
) -> list[str]:
    """One text for each: how much shorter it was first, then every other field.

    Args:
      paper: the config of the paper's own recipe, in full.
      config: that of the run.
      last: its last line of metrics, with "step" and "epoch"; None where it has none.
      is_done: else it is judged by what it is to be.
    """
    changes = configs.changes(paper, config)
    of_other_kind = {f.rpartition(".")[0] for f, pair in changes.items() if ABSENT not in pair}
    texts = [
        f"{field} {ours} (recipe: {theirs})"
        for field, (theirs, ours) in changes.items()
        if not NEUTRAL.fullmatch(field)
        # Another schedule, say, has other fields: its name tells it.
        and not (ABSENT in (theirs, ours) and field.rpartition(".")[0] in of_other_kind)
    ]
    durations = (tree["training"]["duration"] for tree in (paper, config))
    length = length_of(*durations, last, is_done)
    return [length, *texts] if length else texts


def length_of(paper: str, planned: str, last: Mapping[str, float] | None, is_done: bool) -> str:
    """ "shortened: 10 of 200 epochs", or "longer: ..."; empty where it was as long as `paper`."""
    due, unit = schedules.parse_duration(paper)
    number, own_unit = schedules.parse_duration(planned)
    if is_done:
        done = last[unit]
    elif last:
        done = number * last[unit] / last[own_unit]
    elif unit == own_unit:
        done = number
    else:
        return f"training.duration {planned} (recipe: {paper})"
    if abs(done - due) < 0.01 * due:  # a duration in the other unit is rounded to whole steps
        return ""
    return (
        f"{'shortened' if done < due else 'longer'}: {round(done, 2):,.10g} of {due:,.10g} {unit}s"
    )
