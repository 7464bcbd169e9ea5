"""A web application that posts jobs and shows how they stand, with the standard library only.

    python examples/web_app.py           then open the address that it prints
    python examples/web_app.py --check   asks itself a few questions and ends

POST /jobs with a text counts its words in a job; GET /jobs/ID tells how it stands.
"""

import json
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from ostinato import JobNotFound, TaskExecutor, task

Start = Callable[[str, list[tuple[str, str]]], object]


@task(timeout=30, max_attempts=3)
def count_words(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts


class Site:
    """The WSGI application."""

    def __init__(self, executor: TaskExecutor) -> None:
        self.executor = executor

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        status, data = self.answer(environ)
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(data, indent=2).encode() + b"\n"]

    def answer(self, environ: dict[str, Any]) -> tuple[str, object]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].rstrip("/")
        if method == "POST" and path == "/jobs":
            text = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
            handle = self.executor.post(count_words.job(text), tags=["web"])
            return "202 Accepted", {"id": handle.id, "at": f"/jobs/{handle.id}"}
        if path in ("", "/jobs"):
            return "200 OK", [self.show(handle.id) for handle in self.executor.jobs(tag="web", limit=20)]
        try:
            return "200 OK", self.show(path.removeprefix("/jobs/"))
        except JobNotFound as error:
            return "404 Not Found", {"error": str(error)}

    def show(self, job_id: str) -> dict[str, object]:
        handle = self.executor.job(job_id)
        status = handle.status()
        result = handle.result(timeout=5) if status.state == "succeeded" else None
        return {"id": job_id, "state": status.state, "reason": status.reason, "result": result}


class Quiet(WSGIRequestHandler):
    def log_message(self, *_words: object) -> None:
        """Nothing: the answers are enough."""


def main(check_only: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        executor = TaskExecutor(f"sqlite:///{folder}/jobs.db", slots=2)
        with executor, make_server("127.0.0.1", 0, Site(executor), handler_class=Quiet) as server:
            address = f"http://127.0.0.1:{server.server_port}/"
            if check_only:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                check(address, executor)
                server.shutdown()
            else:
                print(f"{address}\ntry: curl -d 'to be or not to be' {address}jobs\nCtrl-C ends it", flush=True)
                try:
                    server.serve_forever()
                except KeyboardInterrupt:
                    print("stopping")
        executor.close()


def check(address: str, executor: TaskExecutor) -> None:
    posted = json.load(urllib.request.urlopen(address + "jobs", b"to be or not to be"))
    executor.job(posted["id"]).wait(timeout=30)
    shown = json.load(urllib.request.urlopen(address.rstrip("/") + posted["at"]))
    print(shown["state"], shown["result"])
    try:
        urllib.request.urlopen(address + "jobs/nothing")
    except urllib.error.HTTPError as error:
        print(error.code, json.load(error)["error"].partition(" in ")[0])
        error.close()


if __name__ == "__main__":
    main("--check" in sys.argv)
