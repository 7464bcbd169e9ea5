"""Limits, pauses and resources as the application says them: names and units of the store's capacities.

A paused queue or task, and a resource that is out of service, has the capacity 0; an entry remembers
which one it gets back. What is held is never written down: it is the sum over the running jobs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ostinato import host, keys
from ostinato.errors import ConfigError, ResourceError
from ostinato.model import Job, Row
from ostinato.names import check_name, suggest
from ostinato.rules import units_of
from ostinato.search import rows
from ostinato.storage import Entry, JobQuery, Rate, Store
from ostinato.units import Duration, micros

PAUSED = "paused"
MOST = 1_000_000
RATE = re.compile(r"\s*(\d+)\s*/\s*(\S.*)")

RateText = str | tuple[int, Duration]
"""``"100/1m"`` or ``(100, timedelta(minutes=1))``: at most so many starts within any such time."""


class Paused(Struct, frozen=True):
    """Since when (microseconds), by whom, and the capacity ``before``, which comes back (None: no bound)."""

    before: int | None
    at: int
    by: str


class Limit(Struct, frozen=True, kw_only=True):
    """What bounds a queue, task or key. ``of`` says which kind; ``concurrency`` and ``rate`` (starts, and
    within how many microseconds) are None if there is no such bound."""

    of: str
    name: str
    concurrency: int | None
    rate: Rate | None
    paused: Paused | None


class Resource(Struct, frozen=True, kw_only=True):
    """A named resource: ``units`` in all, ``held`` by which running jobs (ids), and whether it is in
    service; if not, ``paused`` tells since when."""

    name: str
    units: int
    held: dict[str, int]
    paused: Paused | None

    @property
    def in_service(self) -> bool:
        return self.paused is None

    @property
    def free(self) -> int:
        """The units that a job could get now."""
        return max(0, self.units - sum(self.held.values())) if self.in_service else 0


def named(**kinds: str | None) -> str:
    """The capacity of the one thing that was named: ``queue="mail"`` is ``queue:mail``. Raises ConfigError."""
    given = [(kind, name) for kind, name in kinds.items() if name is not None]
    if len(given) != 1:
        raise ConfigError(f"Name one thing: {' or '.join(f'{kind}=' for kind in kinds)}.")
    ((kind, name),) = given
    return f"{kind}:{check_name(kind, name)}"


def rate_of(value: object) -> Rate:
    """A rate from ``"100/1m"`` or ``(100, timedelta)``. Raises ConfigError."""
    count, per = value if isinstance(value, tuple) and len(value) == 2 else (None, None)
    if isinstance(value, str) and (found := RATE.fullmatch(value)):
        count, per = int(found[1]), found[2] if found[2][0].isdigit() else f"1{found[2]}"
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        raise ConfigError(f'rate={value!r}: give starts per time, such as "100/1m" or (100, timedelta(minutes=1)).')
    within = micros(per, "rate")  # type: ignore[arg-type]  # it says what is wrong with it
    if within == 0:
        raise ConfigError(f"rate={value!r} bounds nothing: give a time longer than 0.")
    return Rate(count, within)


def _whole(value: Any, name: str, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= MOST:
        raise ConfigError(f"{name}={value!r}: give a whole number from {low} to {MOST}.")
    return value


def pauses(store: Store) -> dict[str, Paused]:
    """What is paused or out of service, by the name of its capacity."""
    return {name: paused for name, (paused, _) in _pauses(store).items()}


def _pauses(store: Store) -> dict[str, tuple[Paused, int]]:
    return {
        entry.name: (msgspec.json.decode(entry.value, type=Paused), entry.version)
        for entry in store.entries(PAUSED)
        if entry.value is not None
    }


def running(store: Store) -> list[Row]:
    """All jobs that run now."""
    return list(rows(store, JobQuery(states=("running",), limit=1000)))


class Capacities:
    """The limits of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._units: dict[str, int] = {}

    # limits

    def limit(
        self, name: str, concurrency: int | UnsetType | None = UNSET, rate: RateText | UnsetType | None = UNSET
    ) -> None:
        """Set or (by None) remove bounds."""
        if concurrency is UNSET and rate is UNSET:
            raise ConfigError('Say what bounds it: concurrency=4, rate="100/1m", or None to remove one.')
        checked = None if concurrency is None or concurrency is UNSET else _whole(concurrency, "concurrency", 0)
        pace = None if rate is None or rate is UNSET else rate_of(rate)
        if concurrency is not UNSET:
            if name.startswith("key:"):
                self._by_hand(name.removeprefix("key:"), checked)
            self._set(name, checked)
        if rate is not UNSET:
            self._store.limit({}, {name: pace})

    def _by_hand(self, key: str, concurrency: int | None) -> None:
        """What is set by hand, `Keys` leaves alone."""
        while True:
            versions = {entry.name: entry.version for entry in self._store.entries(keys.KIND)}
            value = None if concurrency is None else str(concurrency)
            if all(self._store.keep([Entry(keys.KIND, key, value, versions.get(key, 0))])):
                return

    def _set(self, name: str, capacity: int | None) -> None:
        """The capacity that it has, or gets back when it is resumed."""
        while True:
            known = _pauses(self._store).get(name)
            if known is None:
                self._store.limit({name: capacity})
                if name not in _pauses(self._store):
                    return
            else:
                paused, version = known
                self._store.limit({name: 0})
                if self._keep(name, msgspec.structs.replace(paused, before=capacity), version):
                    return

    def _keep(self, name: str, paused: Paused | None, version: int = 0) -> bool:
        value = None if paused is None else msgspec.json.encode(paused).decode()
        return all(self._store.keep([Entry(PAUSED, name, value, version)]))

    def pause(self, name: str) -> bool:
        """Start nothing more of it; False if it was paused before. What runs goes on."""
        if name not in pauses(self._store):
            before = self._store.limits().get(name)
            if name.startswith("resource:") and before is None:
                raise self._unknown(name)
            paused = Paused(before, self._store.now(), f"process {os.getpid()} on {host.NAME}")
            if self._keep(name, paused):
                self._store.limit({name: 0})
                if name not in pauses(self._store):  # somebody resumed it meanwhile
                    self._store.limit({name: before})
                return True
        self._store.limit({name: 0})  # if who paused it died half-way
        return False

    def resume(self, name: str) -> bool:
        """Give it back the capacity that it had; False if it was not paused."""
        while True:
            known = _pauses(self._store).get(name)
            if known is None:
                if name.startswith("resource:") and name not in self._store.limits():
                    raise self._unknown(name)
                return False
            paused, version = known
            self._store.limit({name: paused.before})
            if self._keep(name, None, version):
                return True

    def limits(self) -> list[Limit]:
        """All queues, tasks and keys that are bounded or paused."""
        limits, rates, paused = self._store.limits(), self._store.rates(), pauses(self._store)
        found = []
        for name in sorted({*limits, *rates, *paused}):
            of, _, rest = name.partition(":")
            if of in ("queue", "task", "key"):
                stop = paused.get(name)
                bound = stop.before if stop else limits.get(name)
                found.append(Limit(of=of, name=rest, concurrency=bound, rate=rates.get(name), paused=stop))
        return found

    # resources

    def resource(self, name: str, units: int | None) -> None:
        """Declare how many units there are; None: there is no such resource any more."""
        capacity = named(resource=name)
        if units is not None:
            self._set(capacity, _whole(units, "units", 0))
            return
        while (known := _pauses(self._store).get(capacity)) and not self._keep(capacity, None, known[1]):
            continue
        self._store.limit({capacity: None})
        self._units.pop(capacity, None)

    def resources(self) -> list[Resource]:
        """All that are declared, with what is held of them."""
        paused = pauses(self._store)
        units = self._declared(paused)
        held = running(self._store) if units else []
        return [
            Resource(
                name=name.removeprefix("resource:"),
                units=units[name],
                held={row.job.id: some for row in held if (some := units_of(row.job).get(name, 0))},
                paused=paused.get(name),
            )
            for name in sorted(units)
        ]

    def _declared(self, paused: dict[str, Paused]) -> dict[str, int]:
        limits = {**self._store.limits(), **{name: one.before for name, one in paused.items()}}
        return {name: units for name, units in limits.items() if name.startswith("resource:") and units is not None}

    def check(self, jobs: Iterable[Job]) -> None:
        """Raises ResourceError if a job can never get what it holds. Known resources cost no call."""
        needed: dict[str, int] = {}
        for job in jobs:
            for name, units in job.holds:
                if name.startswith("resource:"):
                    needed[name] = max(units, needed.get(name, 0))
        if all(units <= self._units.get(name, -1) for name, units in needed.items()):
            return
        self._units = self._declared(pauses(self._store))
        for name, units in sorted(needed.items()):
            if units > self._units.get(name, -1):
                known = "" if name in self._units else self._known(name)
                raise ResourceError(name.removeprefix("resource:"), units, self._units.get(name), known)

    def _known(self, name: str) -> str:
        names = [one.removeprefix("resource:") for one in self._declared(pauses(self._store))]
        return suggest(name.removeprefix("resource:"), names) if names else ""

    def _unknown(self, name: str) -> ConfigError:
        resource = name.removeprefix("resource:")
        return ConfigError(
            f"There is no resource {resource!r}. {self._known(name)}".rstrip()
            + f" Declare it: `ostinato resources set {resource} UNITS`."
        )
