"""What goes to the terminal: JSON documents, tables, times. Rich is imported when first needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

STATE_COLOURS = {
    "ready": "cyan",
    "running": "blue",
    "scheduled": "cyan",
    "blocked": "yellow",
    "waiting": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
    "expired": "magenta",
}


def print_json(value: Any) -> None:
    """One document: indented for people, one line for programs."""
    data = msgspec.json.encode(value, enc_hook=str)
    click.echo(msgspec.json.format(data, indent=2 if sys.stdout.isatty() else -1))


def print_json_line(value: Any) -> None:
    """One line of a stream; whoever reads it gets it at once."""
    click.echo(msgspec.json.encode(value, enc_hook=str))
    sys.stdout.flush()


def say(text: str) -> None:
    """For people, beside the output: to stderr, so that stdout can be piped."""
    click.echo(text, err=True)


def console() -> Console:
    """Rich's console; when piped it neither colours nor cuts lines to a width."""
    from rich.console import Console

    class OurConsole(Console):
        def on_broken_pipe(self) -> None:  # theirs exits with 1, which here means that a job failed
            raise BrokenPipeError

    return OurConsole(highlight=False, width=None if sys.stdout.isatty() else 10_000)


class Picture:
    """What stays on a terminal and changes, until its block is left; None elsewhere."""

    _live: Live | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Aligned columns; ``right`` names those of numbers. Cells may hold Rich's markup."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in head:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name == "ID", overflow="fold")
    for row in rows:
        table.add_row(*row)
    out = console()
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def coloured(state: str) -> str:
    """A state in its colour, as markup."""
    return f"[{STATE_COLOURS.get(state, 'default')}]{state}[/]"


def plain(text: object) -> str:
    """Text that came from elsewhere, without meaning as markup."""
    from rich.markup import escape

    return escape(str(text))


def bar(busy: int, slots: int, width: int = 8) -> str:
    """``████····``: how full something is."""
    full = 0 if slots < 1 else min(width, -(-busy * width // slots))
    return "█" * full + "·" * (width - full)


def seconds(value: float) -> str:
    """A duration in a few characters."""
    if value < 1:
        return f"{value * 1000:.0f}ms"
    if value < 60:
        return f"{value:.1f}s"
    if value < 3600:
        return f"{value // 60:.0f}m{value % 60:02.0f}s"
    return f"{value // 3600:.0f}h{value % 3600 // 60:02.0f}m" if value < 172_800 else f"{value / 86400:.0f}d"


def ago(at: datetime | None) -> str:
    """How long since then (or until then)."""
    if at is None:
        return ""
    passed = (datetime.now(timezone.utc) - at).total_seconds()
    return f"{seconds(passed)} ago" if passed >= 0 else f"in {seconds(-passed)}"


def local(at: datetime | None) -> str:
    """A time as this machine's clock shows it."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counted(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shortened(names: Sequence[str], shown: int = 5) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def size(count: float | None) -> str:
    """Bytes in a few characters."""
    if count is None:
        return ""
    for unit in ("B", "K", "M", "G"):
        if count < 1024:
            return f"{count:.0f}{unit}"
        count /= 1024
    return f"{count:.1f}T"


def wants_colour() -> bool | None:
    """False if NO_COLOR is set; None lets the terminal decide."""
    return False if os.environ.get("NO_COLOR") else None
