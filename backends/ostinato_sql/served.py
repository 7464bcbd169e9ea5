"""What the databases behind a server have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ostinato_sql.naming import Naming
from ostinato_sql.serverclock import ServerClock

DURABLE = "a crash of the process, of this machine and of the server: each is synced to the server's disk"


class Served:
    """A place on a server, and the clock there. ``defaults`` are the driver's settings unless others are given."""

    defaults: ClassVar[Mapping[str, Any]]

    def __init__(
        self,
        place: str,
        settings: Mapping[str, Any],
        clock: Callable[[], int] | None = None,
        *,
        naming: Naming = Naming(),  # noqa: B008 - a frozen value
        migrates: bool = True,
    ) -> None:
        """``settings`` are the driver's; ``place`` says in messages which database it is."""
        self.place = place
        self.naming = naming
        self.migrates = migrates
        self.durable = DURABLE
        self._settings = {**self.defaults, **settings}
        self._server_clock = ServerClock() if clock is None else None
        self.clock: Callable[[], int] = clock or self._server_clock or ServerClock()
