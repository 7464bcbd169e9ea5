"""``APP``: from a module's name or file to its tasks, and perhaps to an executor that it made."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType

from ostinato.errors import ConfigError
from ostinato.executor import TaskExecutor
from ostinato.names import suggest


def load_app(app: str) -> TaskExecutor | None:
    """Import ``package.module``, ``path/to/file.py``, or either with ``:name`` of the TaskExecutor in
    it, which is returned. Raises ConfigError."""
    place, _, name = app.partition(":")
    module = _import(*_module_of(place))
    if not name:
        return None
    made = {key: value for key, value in vars(module).items() if isinstance(value, TaskExecutor)}
    if name not in made:
        known = suggest(name, made) if made else "It has none."
        raise ConfigError(f"{place} has no TaskExecutor named {name!r}. {known}")
    return made[name]


def _module_of(place: str) -> tuple[str, str]:
    """The module's name, and the folder that it is imported from."""
    if not place.endswith(".py") and os.sep not in place:
        return place, os.getcwd()
    path = os.path.abspath(place)
    if not os.path.isfile(path):
        raise ConfigError(f"There is no file {place}. Give a Python file or the name of a module.")
    folder, name = os.path.dirname(path), os.path.splitext(os.path.basename(path))[0]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        name = f"{package}.{name}"
    return name, folder


def _import(name: str, folder: str) -> ModuleType:
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(_trouble(name, error)) from error
        raise ConfigError(
            f"There is no module {name!r} in {folder} or on the Python path. "
            "Give the name of the module that defines the tasks (pkg.tasks), or its file (pkg/tasks.py)."
        ) from None
    except Exception as error:
        raise ConfigError(_trouble(name, error)) from error


def _trouble(name: str, error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = "".join(traceback.format_exception_only(error)).strip()
    return f"Cannot import {name}: {what} ({last.filename}:{last.lineno})"
