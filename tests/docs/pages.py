"""Reading the Markdown pages: their code blocks, their tables, their links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the name after it (a file name), and its text."""

    language: str
    name: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        language, _, name = match[1].strip().partition(" ")
        found.append(Block(language, name.strip(), match[2], text.count("\n", 0, match.start()) + 1))
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def section(page: Path, title: str) -> str:
    """What stands under one heading, deeper headings included."""
    lines = prose(page).splitlines()
    start = next(at for at, line in enumerate(lines) if line.lstrip("#").strip() == title and line.startswith("#"))
    depth = len(lines[start]) - len(lines[start].lstrip("#"))
    end = start + 1
    while end < len(lines) and not re.match(rf"#{{1,{depth}}} ", lines[end]):
        end += 1
    return "\n".join(lines[start + 1 : end])


def rows(text: str) -> list[list[str]]:
    """The body rows of all tables in a text, as cells."""
    found: list[list[str]] = []
    body = False
    for line in text.splitlines():
        if not line.startswith("|"):
            body = False
        elif re.fullmatch(r"[|: -]+", line):
            body = True
        elif body:
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            found.append([cell.strip().replace("\\|", "|") for cell in cells])
    return found


def named(text: str) -> list[str]:
    """The names in backticks in the first cells of the tables of a text."""
    return [name for cells in rows(text) for name in re.findall(r"`([^`]+)`", cells[0])]


def headings(page: Path, depth: int) -> list[str]:
    """The headings of one depth, without backticks."""
    return [
        line.lstrip("#").strip().strip("`") for line in prose(page).splitlines() if re.match(rf"#{{{depth}}} ", line)
    ]


def links(page: Path) -> list[str]:
    """Targets of the links of a page, those to the web left out."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """What one may link to on a page, as GitHub names it."""
    found = set()
    for line in prose(page).splitlines():
        if line.startswith("#"):
            title = line.lstrip("#").strip().replace("`", "").lower()
            found.add(re.sub(r"[^\w\- ]", "", title).replace(" ", "-"))
    return found
