"""A table at the end: by format, how many damaged inputs came to what."""

COLUMNS = ("inputs", "same", "line", "other", "failed", "seconds")


def pytest_terminal_summary(terminalreporter):
    """Prints the table, and the seed."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    found = [dict(r.user_properties) for r in reports if getattr(r, "user_properties", None)]
    rows = sorted((one["fuzz"] for one in found if "fuzz" in one), key=lambda row: row["name"])
    if not rows:
        return
    seeds = ", ".join(sorted({str(row["seed"]) for row in rows}))
    terminalreporter.section(f"damaged inputs by format, seed {seeds}")
    total = {"name": "all"} | {name: sum(row[name] for row in rows) for name in COLUMNS}
    width = max(len(row["name"]) for row in rows)
    terminalreporter.write_line(" " * width + "".join(f"{name:>9}" for name in COLUMNS))
    for row in (*rows, total):
        numbers = "".join(f"{row[name]:9,.0f}" for name in COLUMNS)
        terminalreporter.write_line(f"{row['name']:{width}}{numbers}")
    terminalreporter.write_line(
        "same: read as if it were whole; line: one clear message; other: another result, of a "
        "format without a checksum or a whole file in the place of another"
    )
