"""What ``ostinato work`` says while it works: a line per event, and on a terminal a line that
stays below them and tells how it stands. With ``--json`` the events are JSON lines on stdout."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from datetime import datetime, timezone
from typing import Any

from ostinato.cli.terminal import Picture, console, counted, plain, print_json_line, seconds
from ostinato.executor import TaskExecutor
from ostinato.model import Event
from ostinato.units import moment

_SILENT = frozenset({"idle", "progress", "log_uploaded"})
_WORDS = {
    "start": ("started", "blue"),
    "success": ("succeeded", "green"),
    "fail": ("failed", "red"),
    "retry": ("will be tried again", "yellow"),
    "cancel": ("cancelled", "magenta"),
    "expire": ("expired", "magenta"),
    "rescue": ("rescued", "yellow"),
}


class Narrator(Picture):
    """Tells people or programs what one executor does."""

    def __init__(self, executor: TaskExecutor, as_json: bool) -> None:
        self._executor = executor
        self._as_json = as_json
        self._console = console()
        self._counts: Counter[str] = Counter()
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._presented = threading.Event()
        """Who it is comes before what it does: events, each told by a thread of its own, wait for that."""
        self.draining = False

    def __enter__(self) -> Narrator:
        logging.basicConfig(
            stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        self._executor.on("*", self._hear)
        if self._console.is_terminal and not self._as_json:
            from rich.live import Live

            self._live = Live(console=self._console, get_renderable=self._status, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def started(self) -> None:
        (me,) = [one for one in self._executor.executors() if one.id == self._executor.id]
        tasks = [
            name for name in sorted(me.tasks) if not name.startswith("ostinato.script") and name != "ostinato.command"
        ]
        queues = ", ".join(me.queues)
        known = counted(len(tasks), "task") if tasks else "no tasks (only scripts and commands)"
        self.say(
            f"executor {me.name} ({me.id}) works on {repr(self._executor).split()[1]}: {known}, {me.slots} slots, "
            f"queues {queues}",
            tasks=tasks,
        )
        self._presented.set()

    def drain(self, why: str) -> None:
        self.draining = True
        self.say(why)

    def say(self, text: str, **fields: Any) -> None:
        """Something about the executor itself."""
        if self._as_json:
            self._json({"kind": "executor", "at": datetime.now(timezone.utc), "msg": text, **fields})
        else:
            self._line(f"[dim]{datetime.now():%H:%M:%S}[/] {plain(text)}")

    def _hear(self, event: Event) -> None:
        self._presented.wait()
        if event.kind in _SILENT and not self._as_json:
            return
        self._counts[event.kind] += 1
        if self._as_json:
            self._json({**{name: getattr(event, name) for name in event.__struct_fields__}, "at": moment(event.at)})
        elif event.kind != "start" or self._live is None:
            word, colour = _WORDS[event.kind]
            reason = f"  {plain(event.reason.partition(chr(10))[0])}" if event.reason else ""
            at = moment(event.at).astimezone()
            attempt = f" attempt {event.attempt}" if (event.attempt or 0) > 1 else ""
            self._line(f"[dim]{at:%H:%M:%S}[/] {event.job_id} [{colour}]{word}[/] {plain(event.task)}{attempt}{reason}")

    def _json(self, record: dict[str, Any]) -> None:
        with self._lock:
            print_json_line(record)

    def _line(self, text: str) -> None:
        with self._lock:
            self._console.print(text, soft_wrap=True)

    def _status(self) -> Any:
        from rich.text import Text

        count = self._counts
        ended = count["success"] + count["fail"] + count["cancel"]
        passed = time.monotonic() - self._begun
        running = max(0, count["start"] - ended - count["retry"])
        parts = [
            f"{'◌ draining' if self.draining else '●'} {running} running",
            f"{count['success']} succeeded",
            *[
                f"{count[kind]} {word}"
                for kind, word in (("fail", "failed"), ("retry", "retried"), ("rescue", "rescued"))
                if count[kind]
            ],
            f"{ended / passed:.1f}/s" if passed > 1 else "",
            seconds(passed),
        ]
        return Text(" · ".join(part for part in parts if part), style="bold")
