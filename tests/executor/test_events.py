"""Subscriptions: every listener on a thread of its own; none can harm the executor or another."""

from __future__ import annotations

import logging
import queue
import threading
from typing import get_args

import chores
import pytest

from ostinato import ConfigError
from ostinato import events as events_module
from ostinato.events import Events
from ostinato.model import Event, EventKind

WAIT = 10


def event(kind: EventKind = "success", at: int = 0) -> Event:
    return Event(kind=kind, executor_id="E", at=at)


@pytest.fixture
def events():
    found = Events()
    yield found
    found.close()


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_every_kind_reaches_its_listener_and_no_other(events, kind):
    heard: queue.Queue[Event] = queue.Queue()
    events.on(kind, heard.put)
    for one in get_args(EventKind):
        events.emit(event(one))
    assert heard.get(timeout=WAIT).kind == kind
    events.close()
    assert heard.empty()


def test_events_come_in_the_order_in_which_they_happened(events):
    heard: queue.Queue[Event] = queue.Queue()
    events.on("success", heard.put)
    for at in range(1000):
        events.emit(event(at=at))
    assert [heard.get(timeout=WAIT).at for _ in range(1000)] == list(range(1000))


def test_once_hears_one_event_whoever_emits(events):
    heard: queue.Queue[Event] = queue.Queue()
    events.on("success", heard.put, once=True)
    barrier = threading.Barrier(8)

    def emit() -> None:
        barrier.wait(WAIT)
        for _ in range(100):
            events.emit(event())

    threads = [threading.Thread(target=emit) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(WAIT)
    heard.get(timeout=WAIT)
    events.close()
    assert heard.empty()


def test_events_of_many_threads_are_heard_one_at_a_time(events):
    inside = threading.Lock()
    heard: queue.Queue[bool] = queue.Queue()

    def listener(_: Event) -> None:
        free = inside.acquire(blocking=False)
        heard.put(free)
        if free:
            inside.release()

    for _ in range(20):
        events.on("success", listener)  # a thread each, started by whoever emits first
    barrier = threading.Barrier(8)
    emitters = [threading.Thread(target=lambda: (barrier.wait(WAIT), events.emit(event()))) for _ in range(8)]
    for one in emitters:
        one.start()
    for one in emitters:
        one.join(WAIT)
    assert len([heard.get(timeout=WAIT) for _ in range(160)]) == 160
    names = [one.name for one in threading.enumerate() if one.name == "ostinato-on-success"]
    assert len(names) <= 20


def test_off_ends_it_and_is_no_error_if_it_never_was(events):
    heard: queue.Queue[Event] = queue.Queue()
    events.on("success", heard.put)
    events.emit(event(at=1))
    assert heard.get(timeout=WAIT).at == 1
    events.off("success", heard.put)
    events.off("success", heard.put)
    events.off("fail", print)
    events.emit(event(at=2))
    assert not events.wants("success")
    events.close()
    assert heard.empty()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_listener_that_raises_hears_the_next_event_all_the_same(events, error, caplog):
    heard: queue.Queue[int] = queue.Queue()

    def listener(one: Event) -> None:
        heard.put(one.at)
        if one.at == 1:
            raise error("from a listener")

    events.on("success", listener)
    with caplog.at_level(logging.ERROR, "ostinato.events"):
        events.emit(event(at=1))
        assert heard.get(timeout=WAIT) == 1
        events.emit(event(at=2))
        assert heard.get(timeout=WAIT) == 2
        events.close()
    assert "raised" in caplog.text


def test_a_listener_that_blocks_holds_up_nobody(events):
    release = threading.Event()
    heard: queue.Queue[Event] = queue.Queue()
    events.on("success", lambda _: release.wait(WAIT))
    events.on("success", heard.put)
    for at in range(100):
        events.emit(event(at=at))
    assert [heard.get(timeout=WAIT).at for _ in range(100)] == list(range(100))
    release.set()


def test_what_a_slow_listener_cannot_take_is_dropped_and_told(events, monkeypatch, caplog):
    monkeypatch.setattr(events_module, "QUEUE", 10)
    release, began = threading.Event(), threading.Event()
    heard: list[int] = []

    def listener(one: Event) -> None:
        began.set()
        release.wait(WAIT)
        heard.append(one.at)

    events.on("success", listener)
    events.emit(event(at=0))
    assert began.wait(WAIT)
    for at in range(1, 31):
        events.emit(event(at=at))
    assert "events were dropped" in caplog.text
    release.set()
    events.close()
    assert heard == list(range(11))


def test_wrong_subscriptions_are_one_clear_error(events):
    with pytest.raises(ConfigError, match="Did you mean 'success'"):
        events.on("sucess", print)
    with pytest.raises(ConfigError, match="cannot be called"):
        events.on("success", 5)
    with pytest.raises(ConfigError, match="Did you mean 'success'"):
        events.off("sucess", print)


def test_after_a_close_listeners_hear_again(events):
    heard: queue.Queue[Event] = queue.Queue()
    events.on("success", heard.put)
    for at in range(3):
        events.emit(event(at=at))
        assert heard.get(timeout=WAIT).at == at
        events.close()


def test_one_listener_hears_all_kinds_in_order(make_executor):
    executor = make_executor(slots=1)
    heard, done = [], threading.Event()

    def listen(event):
        heard.append(event.kind)
        if event.kind == "idle" and "success" in heard:
            done.set()

    executor.on("*", listen)
    executor.post(chores.add.job(1))
    with executor:
        assert done.wait(WAIT)
    assert [kind for kind in heard if kind in ("start", "success", "idle")] == ["start", "success", "idle"]
    executor.off("*", listen)
    assert not executor._events.wants("success")
