"""`curves.png`: loss and error over the epochs, drawn while a run trains and where it ends."""

from pathlib import Path

from cnn_jax.files import replacing

COLORS = {"train": "tab:gray", "validation": "tab:blue", "test": "tab:red"}


def draw(lines: list[dict], path: Path, title: str) -> None:
    """Draws the lines of `metrics.jsonl` into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for split, color in COLORS.items():
        rows = [line for line in lines if line["split"] == split]
        if not rows:
            continue
        epochs = [row["epoch"] for row in rows]
        marker = "o" if len(rows) == 1 else None
        axes[0].plot(epochs, [row["loss"] for row in rows], color=color, label=split, marker=marker)
        errors = [100 * row["top1_error"] for row in rows]
        axes[1].plot(epochs, errors, color=color, label=split, marker=marker)
    axes[0].set(xlabel="epoch", ylabel="cross entropy", yscale="log")
    axes[1].set(xlabel="epoch", ylabel="top-1 error, %", ylim=(0, None))
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[1].legend()
    figure.suptitle(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
