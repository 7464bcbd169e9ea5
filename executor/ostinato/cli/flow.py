"""``ostinato flow``: the tree of a flow."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from ostinato.cli.branches import drawn
from ostinato.cli.opening import find_row, opened_store, store_options
from ostinato.cli.terminal import print_json, print_table
from ostinato.status import job_status
from ostinato.tree import Node, grow

_TOLD = (
    "id", "task", "state", "reason", "attempt", "posted_at", "started_at", "ended_at", "expires_at", "progress",
    "question", "after",
)  # fmt: skip


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--all", "whole", is_flag=True, help="Draw each of many steps that are alike.")
@store_options
def command(job_id: str, whole: bool, url: str | None, as_json: bool) -> None:
    """Draw a flow with its steps.

    Their states, how long they took, and what it waits for. A name with = is a local step, and its value."""
    with opened_store(url) as store:
        tree = grow(store, find_row(store, job_id))
        now = store.now()
    if as_json:
        print_json(_told(tree, now))
    else:
        print_table(("STEP", "STATE", "TIME", "ID", ""), drawn(tree, now, whole), right=("TIME",))


def _told(node: Node, now: int) -> dict[str, Any]:
    status = job_status(node.row, [], now)
    return {
        "name": node.name,
        **{name: getattr(status, name) for name in _TOLD},
        "called": {name: msgspec.Raw(value.encode()) for name, value in node.called.items()},
        "steps": [_told(one, now) for one in node.nodes],
    }
