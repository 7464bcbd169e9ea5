"""``ostinato watch``: a job or flow as it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import datetime

import click

from ostinato.cli.branches import took
from ostinato.cli.exits import FAILED, OK, TIMEOUT
from ostinato.cli.opening import find_row, opened_store, store_options
from ostinato.cli.remarks import remark
from ostinato.cli.terminal import coloured, console, plain, print_json_line, say
from ostinato.cli.times import duration
from ostinato.model import FINAL, Row
from ostinato.status import job_status
from ostinato.storage import Store
from ostinato.tree import Node, grow

PAUSE = 0.25
"""Seconds from one look to the next."""
SHARE = 4
"""At most one part in so many and one of the time is spent looking: flows may be large."""


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--exit-status", is_flag=True, help="Exit code 1 if it does not succeed.")
@click.option("--timeout", metavar="DURATION", help='Give up after this long, e.g. 30 or "5m"; the job goes on.')
@store_options
def command(job_id: str, exit_status: bool, timeout: str | None, url: str | None, as_json: bool) -> int:
    """Follow a job or flow until it ends.

    A line for each change: of its state and progress, and of its steps."""
    patience = None if timeout is None else duration(timeout, "timeout")
    with opened_store(url) as store:
        row = find_row(store, job_id)
        for node in _changes(store, row, patience):
            _tell(node, store.now(), as_json)
            if node.row.job.id == row.job.id:
                row = node.row
    if row.state not in FINAL:
        say(f"Job {row.job.id} has not ended after {timeout}: it is {row.state}. It goes on regardless.")
        return TIMEOUT
    return FAILED if exit_status and row.state != "succeeded" else OK


def _changes(store: Store, row: Row, patience: float | None) -> Iterator[Node]:
    """Each part of the tree when it is first seen, and whenever it has changed; steps before what they are of."""
    until = math.inf if patience is None else time.monotonic() + patience
    seen: dict[str, tuple[str, str | None, str]] = {}
    while True:
        begun = time.monotonic()
        tree = grow(store, find_row(store, row.job.id))
        for node in tree:
            now = (node.row.state, node.row.progress, node.row.reason)
            if seen.get(node.row.job.id) != now:
                seen[node.row.job.id] = now
                yield node
        passed = time.monotonic()
        if tree.row.state in FINAL or passed >= until:
            return
        time.sleep(min(max(PAUSE, SHARE * (passed - begun)), until - passed))


def _tell(node: Node, now: int, as_json: bool) -> None:
    status = job_status(node.row, [], now)
    if as_json:
        progress = status.progress
        told = {"id": status.id, "name": node.name, "state": status.state, "reason": status.reason}
        print_json_line({"at": datetime.now().astimezone(), **told, "progress": progress})
        return
    words = "" if status.state == "succeeded" else f"  {plain(remark(status))}".rstrip()
    line = f"[dim]{datetime.now():%H:%M:%S}[/] {status.id} {plain(node.name)} {coloured(status.state)}"
    console().print(f"{line} {took(status, now)}{words}".rstrip(), soft_wrap=True)
