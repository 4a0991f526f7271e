"""When things happen in a run, in steps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ml_collections import ConfigDict

from cnn_jax.errors import UserError
from cnn_jax.optim.schedules import to_steps

AUTO = "auto"  # as steps_per_dispatch


@dataclass(frozen=True)
class Plan:
    """Durations are in steps, sizes in images; each evaluation is of `splits`."""

    train_size: int
    batch_size: int
    microbatches: int  # of each batch, whose gradients are accumulated
    steps_per_epoch: int
    total_steps: int
    checkpoint_every: int
    steps_per_dispatch: int | str  # "auto" until the devices are known, see `on`
    evaluate_every: int
    splits: tuple[str, ...]
    eval_batch_size: int
    unfreeze: int = 0  # the step from which on layers that were frozen are trained

    def on(self, platform: str, image_bytes: int) -> "Plan":
        """The plan on devices, with a number in the place of "auto", see `steps_on`."""
        steps = steps_on(self.steps_per_dispatch, platform, image_bytes * self.batch_size)
        return replace(self, steps_per_dispatch=steps)

    def is_due(self, every: int, step: int) -> bool:
        """Every so often, and at the end."""
        return step % every == 0 or step == self.total_steps

    def dispatches(self, step: int) -> Iterator[tuple[int, int]]:
        """(first step, number of steps) of each program from `step` on; none reaches past a stop.

        The cuts depend on the plan alone, so that a run which goes on uses the same programs; on
        devices of another platform, where "auto" is another number, others from there on.
        """
        periods = (self.evaluate_every, self.checkpoint_every)
        while step < self.total_steps:
            begin = max(step // p * p for p in periods)
            end = min(self.total_steps, *(step // p * p + p for p in periods))
            if begin < self.unfreeze < end:
                begin, end = (
                    (begin, self.unfreeze) if step < self.unfreeze else (self.unfreeze, end)
                )
            size = dispatch_size(end - begin, self.steps_per_dispatch)
            count = min(size - (step - begin) % size, end - step)
            yield step, count
            step += count


def create_plan(
    *,
    batch_size: int,
    accumulate: int,
    duration: str,
    checkpoint_every: str,
    steps_per_dispatch: int | str,
    evaluation: ConfigDict,
    train_size: int,
) -> Plan:
    """What the groups `training` and `evaluation` say, for a training split of `train_size`.

    Raises:
      UserError: a size or a length that cannot be.
    """
    if not 1 <= batch_size <= train_size:
        raise UserError(
            f"training.batch_size is {batch_size}: with {train_size:,} training images it "
            f"must be between 1 and {train_size:,}"
        )
    if steps_per_dispatch != AUTO and not isinstance(steps_per_dispatch, int):
        raise UserError(f"training.steps_per_dispatch {steps_per_dispatch!r} is no number or auto")
    for name, value in [
        ("training.steps_per_dispatch", steps_on(steps_per_dispatch, "cpu", 0)),
        ("training.accumulate", accumulate),
        ("evaluation.batch_size", evaluation.batch_size),
    ]:
        if value < 1:
            raise UserError(f"{name} is {value}: it must be at least 1")
    epoch = train_size // batch_size
    return Plan(
        train_size=train_size,
        batch_size=batch_size,
        microbatches=accumulate,
        steps_per_epoch=epoch,
        total_steps=at_least_one("training.duration", duration, epoch),
        checkpoint_every=at_least_one("training.checkpoint_every", checkpoint_every, epoch),
        steps_per_dispatch=steps_per_dispatch,
        evaluate_every=at_least_one("evaluation.every", evaluation.every, epoch),
        splits=tuple(evaluation.splits),
        eval_batch_size=evaluation.batch_size,
    )


def steps_on(steps: int | str, platform: str, batch_bytes: int) -> int:
    """The steps of a program on devices of a platform: `steps`, or what "auto" is there.

    That is 10 on CPUs, where compiling is slow, and 100 elsewhere, so that the host keeps up with
    steps of a millisecond; and fewer where more than 64 MiB were sent for a program.

    Args:
      batch_bytes: of the images that are sent for each step; 0 of data in the devices' memory.
    """
    if steps != AUTO:
        return steps
    most = 10 if platform == "cpu" else 100
    return min(most, max(1, 2**26 // batch_bytes)) if batch_bytes else most


def at_least_one(field: str, duration: str, steps_per_epoch: int) -> int:
    """The steps of a duration that cannot be zero."""
    count = to_steps(duration, steps_per_epoch)
    if count < 1:
        raise UserError(f"{field} is {duration!r}, which is no step at all")
    return count


def dispatch_size(stretch: int, limit: int) -> int:
    """At most `limit` steps; if possible a divisor of `stretch`, so that one program fits all."""
    limit = min(limit, stretch)
    divisors = [n for n in range(max(limit // 2, 1), limit + 1) if stretch % n == 0]
    return max(divisors, default=limit)
