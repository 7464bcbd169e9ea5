"""The plugin: answers for ``s3://`` URLs."""

from __future__ import annotations

import difflib
import os
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from ostinato.errors import ConfigError
from ostinato.hooks import hookimpl
from ostinato.storage import LogStore

OPTIONS = ("endpoint", "region")
EXAMPLE = "s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1"

_BUCKET = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{1,254}")


@hookimpl
def ostinato_log_store(url: str) -> LogStore | None:
    """``s3://bucket/prefix?endpoint=...&region=...``; without an endpoint, Amazon's."""
    if not url.startswith("s3:"):
        return None
    # No message shows the URL itself: somebody may have put a password into it.
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigError(
            "Credentials do not belong into the URL of a log store, where everybody sees them. "
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment."
        )
    if not _BUCKET.fullmatch(parts.netloc):
        raise ConfigError(f"The URL of the log store names no bucket. Write it like this: {EXAMPLE}")
    options = _options(parts.query)
    endpoint = options.get("endpoint")
    if endpoint is not None and not re.fullmatch(r"https?://[^/@?#]+/?", endpoint):
        raise ConfigError(f"endpoint= must be like http://127.0.0.1:9000 or https://s3.example.org: {EXAMPLE}")
    try:
        from ostinato_s3.store import S3LogStore
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise ConfigError("Logs on S3 need the package obstore: pip install 'ostinato[s3]'") from None
    return S3LogStore(
        parts.netloc,
        unquote(parts.path).strip("/"),
        endpoint=endpoint.rstrip("/") if endpoint else None,
        region=options.get("region") or _setting("REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        credentials=_credentials(endpoint),
    )


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(OPTIONS)}."
            raise ConfigError(f"Unknown option {name!r} of an s3:// log store; {hint}")
        if name in options:
            raise ConfigError(f"The option {name!r} of the s3:// log store is given twice.")
        options[name] = value
    return options


def _credentials(endpoint: str | None) -> dict[str, str]:
    """From the environment. Without any, Amazon's own servers may give us a role; other
    servers cannot, and asking for one would only hang."""
    key, secret, session = _setting("ACCESS_KEY_ID"), _setting("SECRET_ACCESS_KEY"), _setting("SESSION_TOKEN")
    if bool(key) != bool(secret) or (endpoint and not key):
        raise ConfigError(
            "The log store on S3 needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "(or OSTINATO_S3_ACCESS_KEY_ID and OSTINATO_S3_SECRET_ACCESS_KEY) in the environment."
        )
    named = {"access_key_id": key, "secret_access_key": secret, "session_token": session}
    return {name: value for name, value in named.items() if value}


def _setting(name: str) -> str:
    return os.environ.get(f"OSTINATO_S3_{name}") or os.environ.get(f"AWS_{name}") or ""
