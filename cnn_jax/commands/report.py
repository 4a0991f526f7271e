"""Our results beside the paper's: table, figure, and a page with the curves.

Reads sweeps, single runs, records of runs and packs of campaigns; writes report.md, report.csv,
report.html and a figure-N.png for each table, and touches no accelerator. With --page it writes
page.html, all about one run.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cnn_jax.commands.arguments import next_commands
from cnn_jax.errors import UserError
from cnn_jax.progress import print_line


def add_arguments(add) -> None:
    """The results, and where the report goes."""
    paths = "sweeps, runs, records, packs of campaigns, or folders"
    add("paths", type=Path, nargs="*", metavar="PATH", help=paths)
    add("--out", type=Path, metavar="DIR", help="default PATH/report, of the first PATH")
    check = "exit code 1 where a result by a paper's recipe is not within its tolerance"
    add("--check", action="store_true", help=check)
    record = "keeps the finished runs in experiments/results, and updates the tables made of them"
    add("--page", action="store_true", help="of each PATH, a run: one file with all about it")
    pictures = "with --page: evaluates the run, for its errors and its worst images"
    add("--pictures", action="store_true", help=pictures)
    add("--data", metavar="PATH", help="with --pictures: where the data is now")
    add("--record", type=Path, nargs="?", const=True, metavar="PATH", help=record)


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Prints the tables, and writes the report and, if asked, the records."""
    from cnn_jax.analysis import comparison, figure, markdown, page, run_records

    if arguments.page:
        return write_pages(arguments, console)
    paths = [*arguments.paths, *filter(lambda path: isinstance(path, Path), [arguments.record])]
    if not paths:
        raise UserError("name what to report: sweeps, runs, records, or packs of campaigns", 2)
    if arguments.record and not (arguments.home / "README.md").exists():
        raise UserError("--record keeps results in a checkout of cnn_jax; this one is installed", 2)
    found = [record for path in paths for record in run_records.find(path)]
    first = paths[0]
    out = arguments.out or (first if first.is_dir() else first.parent) / "report"
    out.mkdir(parents=True, exist_ok=True)
    tables = []
    for number, (facts, own) in enumerate(comparison.tables(found), 1):
        lines = comparison.lines(own)
        picture = out / f"figure-{number}.png"
        figure.draw(facts, lines, own, picture)
        tables.append((facts, lines, own, picture))
        table = Table(*markdown.COLUMNS, title=facts["title"], caption=markdown.protocol(facts))
        for line in lines:
            table.add_row(*markdown.cells(line))
        console.print(table)
    text = "\n".join(
        markdown.markdown(facts, lines) + f"\n![our points beside the paper's]({picture.name})\n"
        for facts, lines, _, picture in tables
    )
    as_csv = markdown.as_csv([table[:2] for table in tables])
    for name, content in (("md", text), ("csv", as_csv), ("html", page.of_tables(tables))):
        # Names of files may have bytes that are not UTF-8.
        content = content.encode(errors="backslashreplace")
        (out / f"report.{name}").write_bytes(content)
    print_line(console, f"the report is in {out}: open {out}/report.html")
    if arguments.record:
        keep(found, paths, arguments.home, console)
    if arguments.check:
        check([line for _, lines, _, _ in tables for line in lines])


def write_pages(arguments: argparse.Namespace, console: Console) -> None:
    """Writes the page of each run."""
    from cnn_jax.analysis import answers_page, run_page
    from cnn_jax.files import keep_compiled
    from cnn_jax.runs import Run

    paths = arguments.paths
    if not paths or (arguments.out and len(paths) > 1):
        raise UserError("--page takes a RUN, or several without --out", 2)
    for run in map(Run, paths):
        if arguments.pictures:
            keep_compiled()
            found = answers_page.evaluated(run, arguments.data)
        else:
            found = answers_page.saved_answers(run)
        told = answers_page.sections(*found, arguments.pictures) if found else []
        text = run_page.of_run(run, next_commands(arguments.program, run.path), told)
        out = (arguments.out or run.path / "report") / "page.html"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(text.encode(errors="backslashreplace"))
        print_line(console, f"the page is {out}")


def keep(found, paths: list[Path], home: Path, console: Console) -> None:
    """Writes the records, and the benchmarks of packs, and renews the tables made of them."""
    from cnn_jax.analysis import devices, pack, registry

    files = registry.record(found, home)
    registry.renew(home)
    for path in filter(pack.is_pack, paths):
        files += devices.record(pack.read(path), home)
        devices.renew(home)
    folders = ", ".join(dict.fromkeys(str(file.parent) for file in files))
    print_line(console, f"{len(files)} records: {folders}")


def check(lines) -> None:
    """Raises `UserError` where a result by a paper's recipe is out of its tolerance."""
    from cnn_jax.analysis.comparison import ABOVE, BELOW, REFUTED
    from cnn_jax.analysis.markdown import printed

    bad = [line for line in lines if line.verdict.startswith((ABOVE, BELOW, REFUTED))]
    if bad:
        texts = (f"{line.row}: {line.ours:.2f}, paper {printed(line.paper)}" for line in bad)
        raise UserError(f"out of tolerance: {'; '.join(texts)}")
