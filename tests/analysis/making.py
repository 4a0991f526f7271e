"""Records of runs that were never made, for the tests of reports."""

TEN_CROP = {
    **{"name": "ten_crop", "crop": 224, "resize": 256},
    **{"square": False, "flip": True, "average": "softmax"},
}


def record(row, seed, error, published=None, deviations=(), status="done", **recipe):
    """One with curves of three epochs; `error` and `published`, of this or by metric, in %."""
    if isinstance(published, float):
        published = {"test/top1_error": published}
    last = {"step": 30, "epoch": 3.0, "loss": 0.5, "top1_error": error / 100, "seconds": 60.0}
    evaluations = [
        {
            **last,
            "split": split,
            "step": 10 * i,
            "epoch": float(i),
            "top1_error": error / 100 + 1 / i,
        }
        for i in (1, 2, 3)
        for split in ("train", "validation", "test")
    ]
    return {
        "recipe": {
            "name": "made",
            "title": "Table 1",
            "protocol": "test error, three epochs",
            "statistic": "median",
            "axis": None,
            "tolerance": 0.5,
            "command": "python launch.py sweep --table=table_1",
            "row": row,
            "published": published or {},
            "deviations": list(deviations),
            "paper_duration": "3 epochs",
            "runs": 1,
            "full": True,
            "protocols": {"ten_crop": TEN_CROP},
            "note": "",
            **recipe,
        },
        "config": {
            "seed": seed,
            "model": {"width": int(row[-1]) if row[-1].isdigit() else 0},
            "evaluation": {"weights": "raw"},
        },
        "environment": {"commit": "0123456789", "devices": ["cpu"], "cpus": 2},
        "status": status,
        "summary": {"train": last, "test": last},
        "evaluations": evaluations,
        "protocols": [
            {
                **{"protocol": "ten_crop", "split": "test", "step": 30, "weights": "raw"},
                "settings": TEN_CROP | {"filter": "bilinear"},
                "top1_error": error / 200,
            }
        ],
        "measurements": {},
    }
