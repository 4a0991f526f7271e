"""Several networks that answer as one: the mean of their scores over the same images.

He et al. (2016), Table 5; Szegedy et al. (2016), Table 5; Szegedy et al. (2015), Table 2. Each
network sees the views of one protocol, with its own preprocessing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.nn import softmax

from cnn_jax.errors import UserError
from cnn_jax.evaluation.evaluate import evaluate, numbers
from cnn_jax.evaluation.predict import Predictions, to_logits
from cnn_jax.evaluation.protocols import Protocol
from cnn_jax.evaluation.target import EvalTarget, of_run
from cnn_jax.runs import Run

Found = tuple[dict[str, dict], dict[str, Predictions], dict[int, str]]  # what `evaluate` returns


class Member(NamedTuple):
    """A network, and what it is evaluated on."""

    title: str
    target: EvalTarget
    split: str | None  # as `EvalTarget.examples` takes it
    protocol: Protocol


def check_alike(members: Sequence[Member]) -> None:
    """Raises `UserError` unless all networks see the same images by the same protocol."""
    first = members[0]
    for other in members[1:]:
        if difference := differs(first, other):
            raise UserError(f"{first.title} and {other.title} are no ensemble: {difference}")


def differs(one: Member, other: Member) -> str | None:
    """What keeps two networks from an ensemble; None where nothing does."""
    names = [member.target.class_names for member in (one, other)]
    if names[0] != names[1]:
        places = [i for i, (a, b) in enumerate(zip(*names, strict=False)) if a != b]
        where = f", from class {places[0]} on" if places else ""
        return f"they have {len(names[0]):,} and {len(names[1]):,} classes that differ{where}"
    if images_of(one) != images_of(other):
        return "they would be evaluated on other images; take a split that they share"
    if one.protocol.settings != other.protocol.settings:
        return (
            f"by default they see other views ({one.protocol.about}; {other.protocol.about}); "
            "give the sizes, as --resize, --crop or --sides"
        )
    return None


def images_of(member: Member) -> tuple[Any, ...]:
    """What tells the images of a member's split from others: the split, labels, names."""
    split, examples = member.target.examples(member.split)
    data = member.target.config.data
    is_cut = split != "test" and data.validation_size  # by `split_seed` from the training images
    names = [examples.where(i) for i in range(len(examples.labels))]
    cut = (data.validation_size, data.split_seed) if is_cut else None
    return split, cut, examples.labels.tolist(), names


def combine(found: Sequence[Found], average: str) -> Found:
    """What `evaluate` returns, of the ensemble of the networks for which it returned `found`.

    The first weights of each network go together, and so on; an image that any network skipped is
    skipped. A single network is left as it is.

    Args:
      average: over the networks, "softmax" or "logits".
    """
    if len(found) == 1:
        return found[0]
    bad = {i: why for _, _, skipped in found for i, why in skipped.items()}
    combined = {}
    for kinds in zip(*(predictions.items() for _, predictions, _ in found), strict=True):
        name = "+".join(dict.fromkeys(kind for kind, _ in kinds))
        combined[name] = mean([without(p, bad) for _, p in kinds], average)
    return {k: numbers(p) | {"skipped": len(bad)} for k, p in combined.items()}, combined, bad


def without(predictions: Predictions, bad: Mapping[int, str]) -> Predictions:
    """The predictions for all other examples."""
    kept = ~np.isin(predictions.index, list(bad))
    return Predictions(*(array[kept] for array in predictions))


def mean(predictions: Sequence[Predictions], average: str) -> Predictions:
    """The mean prediction for the same examples: of the softmax (as logarithms), or the logits."""
    logits = np.stack([p.logits for p in predictions])
    scores = logits if average == "logits" else np.asarray(softmax(logits))
    return predictions[0]._replace(logits=to_logits(scores.mean(0), average))


def evaluate_runs(
    runs: Sequence[Run],
    *,
    split: str | None,
    protocol: str,
    step: int | str,
    weights: str | None,
    data: str | None,
    average: str,
    **sizes: Any,
) -> dict[str, Any]:
    """Evaluates checkpoints of runs as one network: what `cnn_jax.evaluate` takes and gives."""
    members = []
    for run in runs:
        target = of_run(run, [] if data is None else [f"data.path={data}"])
        how = target.protocol(protocol, sizes, average=average)
        members.append(Member(str(run.path), target, split, how))
    check_alike(members)
    found = []
    for run, (_, target, _, how) in zip(runs, members, strict=True):
        these = {"these": run.variables(run.find_step(step), weights)}
        name, examples = target.examples(split)
        found.append(evaluate(target, these, examples, how, target.config.evaluation.batch_size))
    values, _, bad = combine(found, average)
    return {"split": name, "protocol": protocol, **values["these"], "skipped": list(bad.values())}
