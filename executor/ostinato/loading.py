"""Find the application's tasks again in another process, without starting the application."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from ostinato.errors import NotRunning, UnknownTask
from ostinato.task import MAIN_ALIAS, Ref, Task, registry

inside = False
"""True in a fork server and in the processes of attempts."""

_loading_main = False


class StopLoading(BaseException):
    """Ends the loading of a main file where it would start an executor."""


def find(name: str, ref: Ref | None) -> Task[..., Any]:
    """The task, importing its module if it is not here yet. Raises UnknownTask, or whatever
    the import raises."""
    if name not in registry and ref is not None:
        if ref.path is not None:
            load_main(ref.path)
        elif ref.module != "__main__":
            importlib.import_module(ref.module)
    try:
        return registry[name]
    except KeyError:
        raise UnknownTask(
            f"Task {name!r} is not defined by {(ref and (ref.path or ref.module)) or 'any module'} when that is "
            "imported afresh. Define it at the top level of a module, above the code that starts the executor."
        ) from None


def load_main(path: str) -> None:
    """Load the application's main file for its tasks, as far as to where it starts an executor."""
    global _loading_main
    if MAIN_ALIAS in sys.modules:
        return
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(MAIN_ALIAS, path)
    if spec is None or spec.loader is None:
        raise UnknownTask(f"{path} cannot be loaded as Python.")
    module = module_from_spec(spec)
    sys.modules[MAIN_ALIAS] = module
    _loading_main = True
    try:
        spec.loader.exec_module(module)
    except StopLoading:
        pass
    finally:
        _loading_main = False


def refuse_executor(what: str) -> None:
    """Called where an executor would open its store. There is none inside an attempt's process:
    while a main file is loaded, loading ends here; otherwise NotRunning is raised."""
    if _loading_main:
        raise StopLoading
    if inside:
        raise NotRunning(
            f"{what} inside a job's process, which holds no store. Post follow-up jobs with "
            'current_job().post(job), and start executors under `if __name__ == "__main__":`.'
        )
