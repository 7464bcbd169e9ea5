"""What ``ostinato demo`` looks like: live on a terminal, one line per event otherwise."""

from __future__ import annotations

import shlex
import shutil
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ostinato.cli.failover import Moment, Summary
from ostinato.cli.overview import ExecutorView
from ostinato.cli.terminal import STATE_COLOURS, Picture, bar, console, counted, plain, size

QUARTER = 0.25


class View(Picture):
    """Shows moments, then the summary. ``quiet`` shows nothing of the kind."""

    def __init__(self, url: str, quiet: bool) -> None:
        self._url, self._quiet = url, quiet
        self._console = console()
        self._told = 0.0
        if self._console.is_terminal and not quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> View:
        if not self._quiet:
            self._say("[bold]Ostinato demo[/]: real jobs, each in a process of its own; one executor will be killed.")
            self._say(f"store {plain(self._url)}")
        if self._live is not None:
            self._live.start()
        return self

    def show(self, now: Moment) -> None:
        if self._quiet:
            return
        if now.news:
            colour = "red" if "SIGKILL" in now.news else "yellow" if "rescued" in now.news else "cyan"
            self._say(f"[dim]{now.seconds:5.1f}s[/] [{colour}]{plain(now.news)}[/]")
        if self._live is not None:
            self._live.update(_picture(now), refresh=True)
        elif now.ended / now.files >= self._told + QUARTER and now.ended < now.files:
            self._told = now.ended / now.files // QUARTER * QUARTER
            self._say(f"{now.seconds:5.1f}s {now.ended}/{now.files} files, {_pace(now)} jobs/s")

    def conclude(self, summary: Summary, home: str) -> None:
        self._say("")
        for name, value in _facts(summary):
            self._say(f"[bold]{name:<20}[/]{value}")
        self._say(f"\n{_verdict(summary)}\n\n[bold]Look around[/] (the store stays until you delete it):")
        for line in _next(summary, home):
            self._say(f"  {plain(line)}")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _picture(now: Moment) -> Any:
    share = now.ended / now.files
    progress = Table.grid(padding=(0, 1))
    width = max(10, min(50, shutil.get_terminal_size().columns - 40))
    progress.add_row(
        ProgressBar(now.files, now.ended, width=width),
        f"{share:4.0%}  {now.ended}/{now.files} files  {_pace(now)} jobs/s  {now.seconds:.0f}s",
    )
    executors = Table.grid(padding=(0, 2))
    if now.killed is not None and now.killed not in {one.name for one in now.overview.executors}:
        executors.add_row(f"[red]{now.killed}[/]", "[red]✗ killed[/]", "")
    for one in sorted(now.overview.executors, key=lambda one: one.name):
        executors.add_row(*_lane(one))
    states = Text("  ").join(
        Text(f"{state} {now.overview.count(state)}", style=STATE_COLOURS[state])
        for state in ("ready", "running", "succeeded", "failed")
    )
    if now.killed is not None:
        states.append(f"  rescued {now.rescued}/{now.orphans}", style="yellow")
    return Group(Text(), progress, executors, states)


def _lane(one: ExecutorView) -> tuple[str, str, str]:
    if not one.alive:
        left = sum(one.running.values())
        return (
            f"[red]{plain(one.name)}[/]",
            "[red]✗ killed[/]",
            f"[red]{counted(left, 'job')} left half done[/]" if left else "",
        )
    running = ", ".join(f"{plain(task.rpartition('.')[2])} ×{jobs}" for task, jobs in one.running.items())
    return plain(one.name), f"[blue]{bar(one.busy, one.slots, one.slots)}[/] {one.busy}/{one.slots}", running


def _pace(now: Moment) -> str:
    return f"{now.ended / now.seconds:.0f}" if now.seconds > 0.5 else "0"


def _facts(summary: Summary) -> list[tuple[str, str]]:
    after = f", {summary.rescued_after} s after the kill" if summary.rescued_after is not None else ""
    return [
        ("jobs", f"{summary.jobs:,}, {summary.succeeded:,} succeeded"),
        ("attempts", f"{summary.attempts:,}"),
        ("executors killed", ", ".join(summary.killed) or "none"),
        ("jobs rescued", f"{summary.rescued}{after}"),
        ("time", f"{summary.seconds:.1f} s, {summary.jobs_per_second:g} jobs/s"),
        ("definitions found", f"{summary.definitions:,}"),
        ("compressed", f"{size(summary.size)} to {size(summary.compressed)}"),
        ("store", plain(summary.url)),
        ("logs", plain(summary.logs)),
    ]


def _verdict(summary: Summary) -> str:
    good = summary.files - summary.lost - summary.twice - summary.wrong
    text = f"{good} of {summary.files} files have exactly one result, checked by re-hashing the files here."
    if summary.ok:
        return f"[bold green]✓ Nothing lost:[/] {text}"
    what = f"{summary.lost} without a result, {summary.twice} with several, {summary.wrong} with a wrong one"
    return f"[bold red]✗ {what}:[/] {text}"


def _next(summary: Summary, home: str) -> list[str]:
    url = f"--url {shlex.quote(summary.url)}"
    return [
        f"ostinato jobs {url}",
        f"ostinato show {summary.example} {url}" + ("   # was rescued: two attempts" if summary.rescued else ""),
        f"ostinato logs {summary.example} {url}",
        f"rm -r {shlex.quote(home)}   # when you have seen enough",
    ]
