"""One typed configuration: arguments, then ``OSTINATO_*`` variables, then a settings file.

The file is ``ostinato.toml``, or the table ``[tool.ostinato]`` of ``pyproject.toml``, in the
current folder. A wrong or unknown setting is one clear ConfigError that names where it stands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ostinato.errors import ConfigError
from ostinato.load import Marks
from ostinato.model import SECOND, Keep, Rise
from ostinato.names import check_name, suggest
from ostinato.units import Duration, micros, size

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same parser under its older name
    import tomli as tomllib

DEFAULT_URL = "sqlite:///ostinato.db"
PREFIX = "OSTINATO_"


def _keep() -> dict[str, Keep]:
    return {
        "succeeded": Keep("7d"),
        "failed": Keep("30d"),
        "cancelled": Keep("7d"),
        "expired": Keep("7d"),
    }


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, as a person writes them. Durations in seconds or text such as "30s"."""

    url: str = DEFAULT_URL
    slots: int | None = None
    queues: list[str] = msgspec.field(default_factory=lambda: ["default"])
    log_store: str | None = None
    spool: str | None = None
    lease: float | str = 30
    grace: float | str = 10
    poll: float | str = 5
    max_payload: int | str = "1M"
    max_log: int | str = "16M"
    keep: dict[str, Keep] = msgspec.field(default_factory=_keep)
    start_method: str = "auto"
    name: str | None = None
    max_cpu: float | None = None
    max_memory: float | None = None
    max_load: float | None = None
    deadline_lead: float | str = 60
    ageing: float | str | None = None


class Config(Struct, frozen=True, kw_only=True):
    """The settings, checked and in the units that the rooms use (microseconds, bytes)."""

    url: str
    slots: int
    queues: tuple[str, ...]
    log_store: str | None
    spool: str | None
    lease: int
    grace: int
    poll: int
    max_payload: int
    max_log: int
    keep: dict[str, tuple[int | None, int | None]]
    start_method: str
    name: str | None
    marks: Marks
    rise: Rise


def load(arguments: Mapping[str, Any], *, environ: Mapping[str, str] | None = None, folder: str | Path = ".") -> Config:
    """The configuration of one executor. Raises ConfigError."""
    file, where = _from_file(Path(folder))
    merged: dict[str, Any] = {}
    for source, values in (
        (where, file),
        ("the environment", _from_environment(os.environ if environ is None else environ)),
        ("the arguments", {name: value for name, value in arguments.items() if value is not None}),
    ):
        _check_known(values, source)
        merged.update({name: _convert(name, value, source) for name, value in values.items()})
    return _checked(Settings(**merged))


def _check_known(values: Mapping[str, Any], source: str) -> None:
    for name in values:
        if name not in Settings.__struct_fields__:
            raise ConfigError(
                f"There is no setting {name!r} (in {source}). {suggest(name, Settings.__struct_fields__)}"
            )


def _convert(name: str, value: Any, source: str) -> Any:
    if isinstance(value, (list, tuple, set, frozenset)):
        value = list(value)
    elif isinstance(value, timedelta):
        value = value.total_seconds()
    kind = msgspec.structs.fields(Settings)[Settings.__struct_fields__.index(name)].type
    try:
        return msgspec.convert(value, kind, strict=source != "the environment", from_attributes=True)
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigError(f"The setting {name}={value!r} (in {source}) is wrong: {error}.") from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """``OSTINATO_SLOTS=4``. Lists are separated by commas. What is no setting is left alone when
    it belongs to our tests or to a plugin (a further underscore or an unknown word is not refused,
    since the environment is shared)."""
    found: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        text = environ.get(PREFIX + name.upper())
        if text is None or name == "keep":
            continue
        found[name] = [part.strip() for part in text.split(",") if part.strip()] if name == "queues" else text
    return found


def _from_file(folder: Path) -> tuple[dict[str, Any], str]:
    for name, path in (("ostinato.toml", ()), ("pyproject.toml", ("tool", "ostinato"))):
        file = folder / name
        try:
            table: Any = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ConfigError(f"The settings file {file} cannot be read: {error}.") from None
        for key in path:
            table = table.get(key, {}) if isinstance(table, dict) else table
        if not isinstance(table, dict):
            raise ConfigError(f"The settings file {file} cannot be read: [{'.'.join(path)}] is no table.")
        if table:
            return table, str(file)
    return {}, "the settings file"


def _checked(settings: Settings) -> Config:
    slots = settings.slots if settings.slots is not None else max(2, _cores())
    if slots < 1 or slots > 100_000:
        raise ConfigError(f"slots={slots}: give 1 to 100000.")
    if settings.start_method not in ("auto", "fork", "spawn"):
        raise ConfigError(
            f"start_method={settings.start_method!r}. {suggest(settings.start_method, ('auto', 'fork', 'spawn'))}"
        )
    if not settings.queues:
        raise ConfigError('queues is empty: name at least one, such as ["default"], or ["*"] for all.')
    return Config(
        url=settings.url,
        slots=slots,
        queues=tuple(_queue(queue) for queue in settings.queues),
        log_store=settings.log_store,
        spool=settings.spool,
        lease=_at_least(settings.lease, "lease", SECOND // 2),
        grace=micros(settings.grace, "grace"),
        poll=_at_least(settings.poll, "poll", SECOND // 100),
        max_payload=size(settings.max_payload, "max_payload"),
        max_log=max(4096, size(settings.max_log, "max_log")),
        keep=_retention(settings.keep),
        start_method=settings.start_method,
        name=settings.name,
        marks=Marks(
            cpu=_mark(settings.max_cpu, "max_cpu", 1),
            memory=_mark(settings.max_memory, "max_memory", 1),
            load=_mark(settings.max_load, "max_load", 1000),
        ),
        rise=Rise(
            lead=micros(settings.deadline_lead, "deadline_lead"),
            ageing=None if settings.ageing is None else _at_least(settings.ageing, "ageing", SECOND),
        ),
    )


def _mark(value: float | None, name: str, most: int) -> float | None:
    if value is not None and not 0 < value <= most:
        shown = "a share of the whole machine, such as 0.8" if most == 1 else "the load per core, such as 1.5"
        raise ConfigError(f"{name}={value!r}: give {shown}; or leave it out for no mark.")
    return value


def _queue(name: str) -> str:
    """A queue to serve may be a glob."""
    check_name("queue", "".join(letter for letter in name if letter not in "*?[]") or "any")
    return name


def _at_least(value: Duration, name: str, least: int) -> int:
    given = micros(value, name)
    if given < least:
        raise ConfigError(f"{name}={value!r} is too short: give at least {least / SECOND:g} seconds.")
    return given


def _retention(keep: Mapping[str, Keep]) -> dict[str, tuple[int | None, int | None]]:
    rules = {**_keep(), **keep}
    known = _keep()
    for state in keep:
        if state not in known:
            raise ConfigError(f"keep has no outcome {state!r}. {suggest(state, known)}")
    for state, rule in keep.items():
        if rule.count is not None and rule.count < 0:
            raise ConfigError(
                f"keep.{state}.count={rule.count} is negative: give how many jobs to keep, or None for all."
            )
    return {
        state: (None if rule.age is None else micros(rule.age, f"keep.{state}.age"), rule.count)
        for state, rule in rules.items()
    }


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
