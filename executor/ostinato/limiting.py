"""What an executor says of limits, pauses and resources, in the words of the application."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from ostinato.capacities import Capacities, Limit, RateText, Resource, named


class Limiting:
    """The part of `TaskExecutor` that bounds what runs in the whole cluster."""

    def _limiting(self) -> Capacities:
        """The limits of its store, which is open."""
        raise NotImplementedError

    def limit(
        self,
        *,
        queue: str | None = None,
        task: str | None = None,
        key: str | None = None,
        concurrency: int | UnsetType | None = UNSET,
        rate: RateText | UnsetType | None = UNSET,
    ) -> None:
        """Bound a queue, task or key in the whole cluster: ``concurrency`` jobs at a time, ``rate`` starts
        within any stretch of time (``"100/1m"`` or ``(100, timedelta(minutes=1))``). None removes a bound, what
        is not given stays. What runs goes on. Raises ConfigError."""
        self._limiting().limit(named(queue=queue, task=task, key=key), concurrency, rate)

    def pause(self, *, queue: str | None = None, task: str | None = None, resource: str | None = None) -> bool:
        """Start no more jobs of a queue or task, or none that hold a resource: it is out of service. What
        runs goes on. False if it was so before. Raises ConfigError."""
        return self._limiting().pause(named(queue=queue, task=task, resource=resource))

    def resume(self, *, queue: str | None = None, task: str | None = None, resource: str | None = None) -> bool:
        """Undo `pause`: the limit or units of before are back. False if it was not paused. Raises ConfigError."""
        return self._limiting().resume(named(queue=queue, task=task, resource=resource))

    def limits(self) -> list[Limit]:
        """All queues, tasks and keys that are bounded or paused."""
        return self._limiting().limits()

    def resource(self, name: str, units: int | None) -> None:
        """Declare a named resource, of which so many ``units`` can be held at a time (1: exclusively), or
        change their number; None removes it. Raises ConfigError."""
        self._limiting().resource(name, units)

    def resources(self) -> list[Resource]:
        """All resources, with what is held of them by which jobs."""
        return self._limiting().resources()
