"""What errors of the driver and of the server mean, and what to do about them."""

from __future__ import annotations

from ostinato.errors import StoreCorrupt, StoreError, StoreUnavailable

_MEANINGS: tuple[tuple[tuple[str, ...], type[StoreError], str], ...] = (
    (
        ("READONLY", "read only replica"),
        StoreUnavailable,
        "{place} is a replica and takes no writes. Name the primary; after a failover the URL or the DNS name still "
        "points at the old one",
    ),
    (
        ("OOM", "OutOfMemory", "maxmemory"),
        StoreUnavailable,
        "{place} has used up its maxmemory; nothing was stored. Raise maxmemory, or keep ended jobs for a shorter time",
    ),
    (("LOADING", "BusyLoading"), StoreUnavailable, "{place} is still loading its data from disk; try again soon"),
    (
        ("MASTERDOWN", "MasterDown"),
        StoreUnavailable,
        "{place} is a replica that has lost its primary. Name the primary, or wait for the failover",
    ),
    (
        ("CLUSTERDOWN", "ClusterDown", "SlotNotCovered", "TryAgain", "AskError", "MovedError", "TTL exhausted"),
        StoreUnavailable,
        "The cluster at {place} does not serve all of its keys at the moment; try again soon",
    ),
    (
        ("NOPERM", "NoPermission", "no permissions"),
        StoreUnavailable,
        "The user of {place} lacks a right. Give it the keys and channels of the namespace and the commands: "
        "ACL SETUSER name ~{own}* &{own}* +@all -@dangerous +info",
    ),
    (
        ("NOAUTH", "WRONGPASS", "Authentication", "invalid password", "invalid username-password"),
        StoreUnavailable,
        "{place} refuses the user or password. Write them as redis://user:password@host, with special characters "
        "percent-encoded",
    ),
    (
        ("MISCONF",),
        StoreUnavailable,
        "{place} takes no writes because it cannot save to its disk. Check the disk and the log of the server",
    ),
    (
        ("NOREPLICAS",),
        StoreUnavailable,
        "{place} takes no writes because too few replicas follow it (min-replicas-to-write)",
    ),
    (
        ("BUSY ", "UNKILLABLE"),
        StoreUnavailable,
        "{place} is busy with a script for too long. Look with SLOWLOG GET who sent it",
    ),
    (
        ("WRONGTYPE", "wrong kind of value"),
        StoreCorrupt,
        "Keys of {own} at {place} were written by something else. Use a namespace of your own: ?namespace=NAME",
    ),
    (
        ("unknown command", "script tried accessing", "cmsgpack"),
        StoreUnavailable,
        "{place} lacks something that Ostinato needs. It runs on Redis 6.2 or newer, or Valkey",
    ),
    (
        ("DB index is out of range", "invalid DB index"),
        StoreUnavailable,
        "{place} has no database of this number. Use 0, and tell stores apart by ?namespace=NAME",
    ),
    (
        ("Timeout",),
        StoreUnavailable,
        "{place} did not answer in time. What was asked may have been done or not; it is safe to ask again",
    ),
    (
        ("Connection", "OSError"),
        StoreUnavailable,
        "{place} cannot be reached, or went away. If a request was under way it may have been done or not; it is safe "
        "to ask again. Check that the server runs and that host and port are right",
    ),
)


def translate(error: BaseException, place: str, own: str, secret: str | None) -> StoreError:
    """The seam's error for one of the driver."""
    said = f"{error}" if not secret else f"{error}".replace(secret, "***")
    named = f"{' '.join(kind.__name__ for kind in type(error).__mro__[:-3])} {said}"
    for words, kind, advice in _MEANINGS:
        if any(word in named for word in words):
            return kind(f"{advice.format(place=place, own=own)}. (It says: {said})")
    return StoreUnavailable(f"{place} answers with an error: {said}")
