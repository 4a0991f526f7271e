"""README and docs as a reader sees them: blocks, commands, code spans, links, headings."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "experiments/deep_compression/README.md",
]
PROGRAMS = ("python", "python3", "pip", "cnn-jax")
FENCE = re.compile(r"^```(.*)$")
SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


class Block(NamedTuple):
    """A fenced block: "```bash run" has the language "bash" and the words ["run"]."""

    line: int  # its first, from 1
    language: str
    words: list[str]
    text: str

    @property
    def file(self) -> str | None:
        """NAME of "```python file=NAME"."""
        names = [word.partition("=")[2] for word in self.words if word.startswith("file=")]
        return names[0] if names else None


class Page(NamedTuple):
    """A page of Markdown in two parts."""

    path: Path
    prose: str  # all that is in no block
    blocks: list[Block]

    def spans(self) -> list[str]:
        """The code in the text, with the escapes of tables undone."""
        return [match[2].strip().replace("\\|", "|") for match in SPAN.finditer(self.prose)]

    def links(self) -> list[str]:
        """The targets of links and pictures."""
        return [a or b for a, b in LINK.findall(SPAN.sub("", self.prose))]

    def anchors(self) -> set[str]:
        """What GitHub makes of the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}

    def commands(self) -> list[list[str]]:
        """Those that are not run: in blocks of bash, and in the text."""
        found = [
            command
            for block in self.blocks
            if block.language == "bash" and "run" not in block.words
            for command in commands(block.text)
        ]
        for span in self.spans():
            command = words(span.splitlines()[0]) if "\n" not in span else words(span)
            if len(command) > 1 and command[0] in PROGRAMS:
                found.append(command)
        return found


def read(path: Path) -> Page:
    """Takes a page apart."""
    prose, blocks, fence, start = [], [], None, 0
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        match = FENCE.match(line)
        if match and fence is None:
            fence, start = match[1], number + 1
        elif match:
            language, *others = fence.split() or [""]
            text = "\n".join(lines[start - 1 : number - 1]) + "\n"
            blocks.append(Block(start, language, others, text))
            fence = None
        elif fence is None:
            prose.append(line)
    assert fence is None, f"{path}: the block at line {start} has no end"
    return Page(path, "\n".join(prose) + "\n", blocks)


def commands(text: str) -> list[list[str]]:
    """The commands of a block, as words; without comments, variables before them, and `time`."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words(part) for line in lines for part in line.split(" && ") if words(part)]


def words(line: str) -> list[str]:
    """One command as words."""
    try:
        found = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in code that is no command
        return []
    while found and (found[0] == "time" or re.fullmatch(r"[A-Z_]+=\S*", found[0])):
        del found[0]
    return found
