"""Logs on S3 through obstore.

obstore starts threads at its first use and hangs in a child forked after that, so this is
used in the executor's process only, never in one that forks attempts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from ostinato.errors import LogUnavailable

WHOLE = 32 * 1024 * 1024  # up to this size a log is one request: there or not there
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_CAUSE = re.compile(r'message: "([^"]{1,80})"')


class S3LogStore:
    """A `LogStore` in a bucket. Failing requests are repeated twice and take 10 s at most:
    the uploader has the patience, and must hear soon what is wrong."""

    parallel = 16
    """How many `put` at once are of use: each mostly waits for the network."""

    def __init__(
        self, bucket: str, prefix: str, *, endpoint: str | None, region: str, credentials: Mapping[str, str]
    ) -> None:
        self.url = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self._at = endpoint or f"S3 in {region}"
        options: dict[str, Any] = {**credentials, "region": region}
        if endpoint:
            options["endpoint"] = endpoint
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            virtual_hosted_style_request=endpoint is None,
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http:"),
                "connect_timeout": "5s",
                "timeout": "30s",
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
            **options,
        )

    def put(self, key: str, path: str) -> None:
        small = os.path.getsize(path) <= WHOLE
        body = Path(path).read_bytes() if small else Path(path)
        try:
            obstore.put(self._store, key, body, attributes={"Content-Type": "application/x-ndjson"})
        except (BaseError, OSError) as error:
            self._fail(error)

    def get(self, key: str) -> bytes:
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (BaseError, OSError) as error:
            if isinstance(error, (NotFoundError, FileNotFoundError)) and "NoSuchBucket" not in str(error):
                raise LogUnavailable(f"There is no log {key} in {self.url}.") from None
            self._fail(error)

    def delete(self, key: str) -> None:
        try:
            obstore.delete(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            self._fail(error)

    def close(self) -> None:
        """obstore closes its connections by itself."""

    def _fail(self, error: Exception) -> NoReturn:
        raise OSError(f"{_reason(str(error))} from {self._at}") from None


def _reason(text: str) -> str:
    """obstore tells the status and code in the middle of a page of details."""
    status, code, cause = _STATUS.search(text), _CODE.search(text), _CAUSE.search(text)
    if status:
        return f"{status[1]} {code[1]}" if code else status[1]
    if cause:
        return cause[1]
    return "timed out" if "imed" in text else text.partition("\n")[0][:160]
