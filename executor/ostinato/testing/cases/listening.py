"""Listening: a listener hears what happens through any store object, at once or the next time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from ostinato.model import SECOND, Channel
from ostinato.storage import Ask, Entry, Listener, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import LEASE, claim_one, finish, info, job, jobs, want
from ostinato.testing.setting import OpenStore, Setting

LONG = 20.0
"""Seconds to wait for what must come; a listener that hears nothing fails by it."""


class ListeningCases(Setting):
    def test_hears_a_post(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        with listening(store, "ready") as listener:
            assert heard_during(listener, lambda: other.post([job("a")])) == {"ready"}

    def test_hears_a_tick(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        with listening(store, "ready") as listener:
            assert heard_during(listener, lambda: other.tick("nightly", 1, [job("a")])) == {"ready"}

    def test_hears_of_a_scheduled_job(self, store: Store, open_store: OpenStore, clock: FakeClock) -> None:
        """It may come due before all that the executor knows of."""
        other, later = open_store(), job("a", run_at=clock.now + SECOND)
        with listening(store, "ready") as listener:
            assert heard_during(listener, lambda: other.post([later])) == {"ready"}

    def test_hears_an_end(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        store.post([job("a")])
        row = claim_one(store)
        with listening(store, "ended") as listener:
            assert heard_during(listener, lambda: finish(other, row)) == {"ended"}

    def test_hears_a_retry(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        store.post([job("a")])
        row = claim_one(store)
        with listening(store, "ready") as listener:
            assert heard_during(listener, lambda: finish(other, row, "ready")) == {"ready"}

    def test_hears_posts_of_an_end(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        store.post([job("a")])
        row = claim_one(store)
        with listening(store, "ready") as listener:
            assert heard_during(listener, lambda: finish(other, row, posts=(job("b"),))) == {"ready"}

    def test_hears_that_units_are_free(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        store.limit({"gpu": 1})
        store.post(jobs(2, holds=(("gpu", 1),)))
        row = claim_one(store)
        with listening(store, "ready") as listener:
            assert heard_during(listener, lambda: finish(other, row)) == {"ready"}

    def test_hears_a_resumed_queue(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        store.limit({"queue:default": 0})
        store.post([job("a")])
        with listening(store, "ready") as listener:
            assert heard_during(listener, lambda: other.limit({"queue:default": None})) == {"ready"}

    def test_hears_a_rerun(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        store.post([job("a")])
        finish(store, claim_one(store))
        with listening(store, "ready") as listener:
            assert heard_during(listener, lambda: other.change(["a"], Ask(kind="rerun"))) == {"ready"}

    def test_hears_an_order(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        store.post([job("a")])
        claim_one(store)
        with listening(store, "orders") as listener:
            assert heard_during(listener, lambda: other.change(["a"], Ask(kind="cancel"))) == {"orders"}

    def test_hears_an_executor_join(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        with listening(store, "orders") as listener:
            assert heard_during(listener, lambda: other.renew(info("e1"), [], LEASE)) == {"orders"}

    def test_hears_that_an_entry_was_written(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        with listening(store, "orders") as listener:
            assert heard_during(listener, lambda: other.keep([Entry("s", "a", "1")])) == {"orders"}

    def test_hears_no_further_sign_of_life(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        other.renew(info("e1"), [], LEASE)
        with listening(store, "orders", "ready") as listener:
            while listener.wait(0.2):  # the first one may still be on its way
                pass
            other.renew(info("e1"), [], LEASE)
            other.post([job("a")])
            assert listener.wait(5) == {"ready"}

    def test_hears_a_cancel_as_an_end(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        store.post([job("a")])
        with listening(store, "ended") as listener:
            assert heard_during(listener, lambda: other.change(["a"], Ask(kind="cancel"))) == {"ended"}

    def test_hears_an_expiry_as_an_end(self, store: Store, open_store: OpenStore, clock: FakeClock) -> None:
        other = open_store()
        store.post([job("a", expires_at=clock.now)])
        with listening(store, "ended") as listener:
            assert heard_during(listener, lambda: other.claim("e1", want())) == {"ended"}

    def test_hears_its_channels_only(self, store: Store) -> None:
        with listening(store, "ended", "orders") as listener:
            store.post([job("a")])
            assert "ready" not in listener.wait(0)

    def test_hears_what_happened_between_waits(self, store: Store) -> None:
        with listening(store, "ready") as listener:
            store.post([job("a")])
            assert listener.wait(LONG) == {"ready"}
            store.post([job("b")])
            assert listener.wait(LONG) == {"ready"}

    def test_falls_silent_again(self, store: Store) -> None:
        """It may hear more than there is, but who waits must come to rest."""
        with listening(store, "ready") as listener:
            store.post([job("a")])
            listener.wait(LONG)
            assert any(not listener.wait(0.01) for _ in range(50))

    def test_each_listener_hears(self, store: Store) -> None:
        with listening(store, "ready") as one, listening(store, "ready") as other:
            store.post([job("a")])
            assert one.wait(LONG) == other.wait(LONG) == {"ready"}

    def test_wait_ends_with_its_time(self, store: Store) -> None:
        with listening(store, "orders") as listener:
            assert listener.wait(0.01) == frozenset()

    def test_wake_ends_the_wait(self, store: Store) -> None:
        with listening(store, "orders") as listener:
            assert heard_during(listener, listener.wake) == frozenset()

    def test_wake_before_the_wait_ends_it(self, store: Store) -> None:
        with listening(store, "orders") as listener:
            listener.wake()
            assert heard_during(listener, lambda: None) == frozenset()

    def test_close_ends_the_wait(self, store: Store) -> None:
        with listening(store, "orders") as listener:
            assert heard_during(listener, listener.close) == frozenset()

    def test_closing_the_store_ends_the_wait(self, open_store: OpenStore) -> None:
        store = open_store()
        with listening(store, "orders") as listener:
            assert heard_during(listener, store.close) == frozenset()
        store.close()  # twice is fine


@contextmanager
def listening(store: Store, *channels: Channel) -> Iterator[Listener]:
    listener = store.listen(frozenset(channels))
    try:
        yield listener
    finally:
        listener.close()


def heard_during(listener: Listener, act: Callable[[], object]) -> frozenset[Channel]:
    """What a thread hears that waits while another acts; fails if it is still waiting at the end."""
    heard: list[frozenset[Channel]] = []
    waiter = Thread(target=lambda: heard.append(listener.wait(4 * LONG)), daemon=True)
    waiter.start()
    act()
    waiter.join(LONG)
    assert heard, "the waiting thread was not woken"
    return heard[0]
