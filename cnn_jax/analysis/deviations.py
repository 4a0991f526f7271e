"""The deviations of a run from its paper's recipe."""

import re
from collections.abc import Mapping
from typing import Any

from cnn_jax import config as configs
from cnn_jax.optim import schedules

# Fields that change no result beyond rounding: places, and times of evaluations and checkpoints.
NEUTRAL = re.compile(
    r"seed|data\.(path|storage|decoder|threads|workers|prefetch)|(parallel|compiler|logging)\..*"
    r"|model\.(unroll|remat)|init\.weights|compression\.start"
    r"|training\.(checkpoint_every|steps_per_dispatch|duration)"
    r"|evaluation\.(every|batch_size|splits)"
)
ABSENT = "absent"  # in `configs.changes`


def deviations(
    paper: Mapping[str, Any],
    config: Mapping[str, Any],
    last: Mapping[str, float] | None,
    is_done: bool,
) -> list[str]:
    """A text for each deviation: first of the duration, then of every other field.

    Args:
      paper: the config of the paper's own recipe, in full.
      config: of the run.
      last: its last line of metrics, with "step" and "epoch"; None before the first.
      is_done: whether the run is finished; otherwise its planned duration counts.
    """
    changes = {
        field: pair
        for field, pair in configs.changes(paper, config).items()
        if not is_neutral(field, pair, config["model"])
    }
    changed_groups = {f.rpartition(".")[0] for f, pair in changes.items() if ABSENT not in pair}
    texts = [
        f"{field} {ours} (recipe: {theirs})"
        for field, (theirs, ours) in changes.items()
        # Another schedule, for example, has other fields: its name says so already.
        if not (ABSENT in (theirs, ours) and field.rpartition(".")[0] in changed_groups)
    ]
    durations = (tree["training"]["duration"] for tree in (paper, config))
    length = length_of(*durations, last, is_done)
    return [length, *texts] if length else texts


def is_neutral(field: str, pair: tuple[Any, Any], model: Mapping[str, Any]) -> bool:
    """Whether a change of `field` from one of `pair` to the other is none of the recipe."""
    if field == "training.accumulate":  # batch norms see its parts
        return "bn_group_size" not in model
    if field == "data.exclude":  # the place of a list
        return None not in pair
    return bool(NEUTRAL.fullmatch(field))


def length_of(paper: str, planned: str, last: Mapping[str, float] | None, is_done: bool) -> str:
    """A text such as "shortened: 10 of 200 epochs"; empty where the duration is the paper's."""
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
