"""How listeners of a Redis store are woken: by push, and by looking where push does not work."""

from __future__ import annotations

import threading

import pytest
from redis import Redis
from redis_servers import new_namespace, opened, start, url
from s3_servers import Server, wait_until

from ostinato.storage import Listener
from ostinato.testing.samples import claim_one, finish, job
from ostinato_redis import wake

LONG = 20.0


def quiet(listener: Listener) -> None:
    """Until nothing more is heard."""
    wait_until(lambda: not listener.wait(0.05))


def test_waiting_asks_the_server_nothing(own_valkey: Server, admin: Redis) -> None:
    with opened(url(own_valkey)) as store:
        listener = store.listen(frozenset(["ready", "orders"]))
        quiet(listener)
        before = admin.info("stats")["total_commands_processed"]
        assert listener.wait(1.0) == frozenset()
        assert admin.info("stats")["total_commands_processed"] - before <= 1  # the question itself


def test_one_connection_and_one_thread_for_all_listeners(own_valkey: Server, admin: Redis) -> None:
    before = threading.active_count()
    with opened(url(own_valkey)) as store:
        listeners = [store.listen(frozenset(["ready"])), store.listen(frozenset(["ended"])), *()]
        listeners += [store.listen(frozenset(["ready", "ended", "orders"]))]
        assert len(admin.client_list(_type="pubsub")) == 1
        assert threading.active_count() == before + 1
        store.post([job("a")])
        assert [listener.wait(LONG) for listener in (listeners[0], listeners[2])] == [{"ready"}] * 2
        finish(store, claim_one(store))
        assert listeners[1].wait(LONG) == {"ended"}
    assert threading.active_count() == before
    wait_until(lambda: not admin.client_list(_type="pubsub"))


def test_channels_that_nobody_listens_to_are_not_sent(own_valkey: Server, admin: Redis) -> None:
    name = new_namespace()
    with opened(url(own_valkey, namespace=name)) as store:
        store.listen(frozenset(["ready"]))
        heard = dict(admin.pubsub_numsub(f"{{{name}}}:ready", f"{{{name}}}:ended"))
        assert list(heard.values()) == [1, 0]


def test_lost_connection_is_made_again(
    own_valkey: Server, admin: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "POLL", 0.05)
    with opened(url(own_valkey)) as store:
        listener = store.listen(frozenset(["ready"]))
        admin.client_kill_filter(_type="pubsub")
        assert listener.wait(LONG) == {"ready"}  # something may have been missed
        wait_until(lambda: "works again" in caplog.text)
        quiet(listener)
        store.post([job("a")])
        assert listener.wait(LONG) == {"ready"}
        assert caplog.text.count("does not work") == 1


def test_restarted_server_is_heard_again(
    own_valkey: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "POLL", 0.05)
    with opened(url(own_valkey)) as store:
        listener = store.listen(frozenset(["ready"]))
        own_valkey.stop()
        wait_until(lambda: "does not work" in caplog.text)
        start(own_valkey)
        wait_until(lambda: "works again" in caplog.text)
        assert caplog.text.count("does not work") == 1
        assert listener.wait(LONG) == {"ready"}


def test_without_the_right_to_channels_it_is_looked_every_second(
    own_valkey: Server, admin: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not publish may store, and who may not subscribe may work."""
    monkeypatch.setattr(wake, "POLL", 0.05)
    name = new_namespace()
    admin.execute_command("ACL", "SETUSER", "deaf", "reset", "on", ">pw", f"~{{{name}}}*", "resetchannels", "+@all")
    with opened(f"redis://deaf:pw@127.0.0.1:{own_valkey.port}/0?namespace={name}") as store:
        listener = store.listen(frozenset(["ready", "ended"]))
        assert "does not work, looking every second" in caplog.text
        assert store.post([job("a")])[0].created
        for _ in range(3):
            assert listener.wait(LONG) == {"ready", "ended"}
        assert caplog.text.count("does not work") == 1
    admin.execute_command("ACL", "DELUSER", "deaf")


def test_server_that_delivers_nothing_is_found_out(
    own_valkey: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a proxy that takes subscriptions and forgets them: our own message does not come back."""
    monkeypatch.setattr(wake, "POLL", 0.05)
    monkeypatch.setattr(wake, "PATIENCE", 0.2)
    monkeypatch.setattr(wake.Waker, "publish", lambda self, channel: None)
    with opened(url(own_valkey)) as store:
        listener = store.listen(frozenset(["ready"]))
        assert listener.wait(LONG) == {"ready"}
        assert "messages, but they do not arrive" in caplog.text


def test_silent_connection_is_asked_and_given_up(
    own_valkey: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "QUIET", 0.1)
    with opened(url(own_valkey)) as store:
        listener = store.listen(frozenset(["ready"]))
        quiet(listener)
        assert listener.wait(0.5) == frozenset()  # it was asked, and it answered
        assert "does not work" not in caplog.text
        own_valkey.signal(19)
        try:
            wait_until(lambda: "fallen silent" in caplog.text)
        finally:
            own_valkey.signal(18)
