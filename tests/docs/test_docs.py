"""The reference tells the truth: what exists is documented, and what is documented exists."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import pytest
from pages import DOCS, PAGES, ROOT, anchors, blocks, headings, links, named, prose, rows, section

import ostinato
from ostinato import errors, flow, hooks, model, options
from ostinato.cli import exits
from ostinato.cli.main import cli
from ostinato.config import Settings
from ostinato.current import CurrentJob
from ostinato.executor import TaskExecutor
from ostinato.handle import JobHandle
from ostinato.pino import LEVELS
from ostinato.replaycheck import Fit
from ostinato.status import AttemptStatus, JobStatus

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REFERENCE = DOCS / "reference"


def once(names: list[str]) -> set[str]:
    """The names as a set; none may be documented twice."""
    assert len(names) == len(set(names)), f"twice: {sorted(name for name in names if names.count(name) > 1)}"
    return set(names)


# the API


def test_every_public_name_is_in_the_api() -> None:
    page = REFERENCE / "api.md"
    table = prose(page).partition("\n## ")[0]
    assert once(named(table)) == set(ostinato.__all__)


def signature(name: str, function: Callable[..., Any]) -> str:
    """``post(job, **options)``: names of parameters only."""
    shown: list[str] = []
    starred = False
    for parameter in list(inspect.signature(function).parameters.values()):
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        if parameter.kind is parameter.VAR_POSITIONAL:
            starred = True
        mark = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + "**" * (parameter.kind is parameter.VAR_KEYWORD)
        shown.append(mark + parameter.name)
    return f"{name}({', '.join(shown)})"


INNER = {"check(job)", "record(key, text)", "rise", "write(key, text)"}
"""What only the rooms of flows need of the job that runs."""


def members(kind: type) -> set[str]:
    return {
        signature(name, value) if inspect.isfunction(value) else name
        for part in kind.__mro__[:-1]  # but for object
        for name, value in vars(part).items()
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("title", "kind", "more"),
    [
        ("TaskExecutor", TaskExecutor, set()),
        ("JobHandle", JobHandle, set()),
        ("current_job", CurrentJob, {"cancelled"}),
    ],
)
def test_every_method_is_documented_with_its_parameters(title: str, kind: type, more: set[str]) -> None:
    assert once(named(section(REFERENCE / "api.md", title))) == members(kind) - INNER | more


@pytest.mark.parametrize(
    ("title", "kind", "more"),
    [
        ("JobStatus", JobStatus, {"is_final"}),
        ("AttemptStatus", AttemptStatus, set()),
        ("Backoff", model.Backoff, set()),
        ("Keep", model.Keep, set()),
        ("Fit", Fit, {"fits"}),
    ],
)
def test_every_field_is_documented(title: str, kind: type[msgspec.Struct], more: set[str]) -> None:
    assert once(named(section(REFERENCE / "api.md", title))) == set(kind.__struct_fields__) | more


@pytest.mark.parametrize("title", ["Backoff", "Keep"])
def test_defaults_of_values_are_those_of_the_code(title: str) -> None:
    made = getattr(ostinato, title)()
    for cells in rows(section(REFERENCE / "api.md", title)):
        assert cells[1] == f"`{getattr(made, cells[0].strip('`'))!r}`"


def test_verdicts_are_documented_with_their_parameters() -> None:
    wanted = {signature(name, getattr(ostinato, name)) for name in ("Retry", "Snooze", "Cancel")}
    assert once(named(section(REFERENCE / "api.md", "Verdicts"))) == wanted


def test_makers_of_jobs_are_documented_with_their_parameters() -> None:
    wanted = {signature(name, getattr(ostinato.Job, name)) for name in ("script", "command", "event", "approval")}
    assert once(named(section(REFERENCE / "api.md", "Job"))) == wanted


def test_every_name_of_flow_is_documented_with_its_parameters() -> None:
    made = {name: getattr(flow, name) for name in flow.__all__}
    wanted = {signature(name, one) if inspect.isfunction(one) else name for name, one in made.items()}
    assert once(named(section(REFERENCE / "api.md", "flow"))) == wanted


# options and settings


def test_every_option_is_documented() -> None:
    page = REFERENCE / "task-options.md"
    assert once(named_first(section(page, "For tasks only"))) == {"name", "version", "upgrade", "retry_on", "flow"}
    assert once(named_first(section(page, "For tasks and jobs"))) == options.TASK_OPTIONS
    assert once(named_first(section(page, "For jobs only"))) == options.POST_OPTIONS - options.TASK_OPTIONS


def named_first(text: str) -> list[str]:
    return [re.findall(r"`([^`]+)`", cells[0])[0] for cells in rows(text)]


def test_defaults_of_options_are_those_of_the_code() -> None:
    policy = msgspec.structs.asdict(model.Policy())
    for cells in rows(section(REFERENCE / "task-options.md", "For tasks and jobs")):
        name, shown = cells[0].strip("`"), cells[1]
        if name in policy and name not in ("grace", "backoff"):
            assert shown == f"`{policy[name]!r}`".replace("'", '"'), name
    assert policy["grace"] == 10 * model.SECOND


def test_runners_are_documented() -> None:
    (cells,) = [
        cells for cells in rows(section(REFERENCE / "task-options.md", "For tasks and jobs")) if cells[0] == "`runner`"
    ]
    assert set(re.findall(r'"(\w+)"', " ".join(cells[1:]))) == set(options.RUNNERS)
    assert set(named(section(ROOT / "README.md", "Runners"))) == set(options.RUNNERS)


def test_every_setting_is_documented_with_its_default() -> None:
    table = prose(REFERENCE / "settings.md").partition("\n## ")[0]
    assert once(named(table)) == set(Settings.__struct_fields__)
    defaults = msgspec.structs.asdict(Settings())
    for cells in rows(table):
        name = cells[0].strip("`")
        if name != "keep":
            assert cells[1] == f"`{defaults[name]!r}`".replace("'", '"'), name


def test_the_default_retention_is_documented() -> None:
    told = {cells[0].strip("`"): cells[1] for cells in rows(prose(DOCS / "how-to/retention.md"))}
    assert told == {name: rule.age.replace("d", " days") for name, rule in Settings().keep.items()}  # type: ignore[union-attr]


# errors, events, hooks, states


def test_every_error_is_documented_with_its_bases() -> None:
    found = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__module__ == errors.__name__
    }
    told = {
        cells[0].strip("`"): set(re.findall(r"`(\w+)`", cells[1])) for cells in rows(prose(REFERENCE / "errors.md"))
    }
    assert told.keys() == found.keys()
    for name, kind in found.items():
        assert told[name] <= {base.__name__ for base in kind.__mro__[1:]}, name


def test_every_event_is_documented() -> None:
    page = REFERENCE / "events.md"
    assert once(named_first(section(page, "Kinds"))) == {*get_args(model.EventKind), "*"}
    assert once(named(section(page, "Fields"))) == set(model.Event.__struct_fields__)


def test_every_hook_is_documented_with_its_parameters() -> None:
    found = {
        signature(name, function)
        for name, function in vars(hooks).items()
        if inspect.isfunction(function) and name.startswith("ostinato_")
    }
    assert once(headings(REFERENCE / "hooks.md", 3)) == found


def test_every_state_and_outcome_is_documented() -> None:
    page = REFERENCE / "states.md"
    states = rows(section(page, "States"))
    assert [cells[0].strip("`") for cells in states] == list(get_args(model.State))
    assert {cells[0].strip("`") for cells in states if cells[2] == "yes"} == model.FINAL
    assert once(named_first(section(page, "Outcomes"))) == set(get_args(model.OutcomeKind))


def test_every_level_of_the_log_is_documented() -> None:
    (cells,) = [cells for cells in rows(prose(REFERENCE / "log-format.md")) if cells[0] == "`level`"]
    assert {int(number) for number in re.findall(r"\d+", cells[1])} == set(LEVELS.values())


# the command line


def verbs() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def test_every_verb_is_documented() -> None:
    titles = [
        title.removeprefix("ostinato ") for title in headings(REFERENCE / "cli.md", 2) if title.startswith("ostinato ")
    ]
    assert titles == list(verbs())


@pytest.mark.parametrize("verb", list(verbs()))
def test_every_option_of_a_verb_is_documented(verb: str) -> None:
    told = once([name for name in named(section(REFERENCE / "cli.md", f"ostinato {verb}")) if name.startswith("-")])
    wanted = {name for one in verbs()[verb].params if isinstance(one, click.Option) for name in one.opts}
    assert told == wanted


def test_every_exit_code_is_documented() -> None:
    told = {int(cells[0].strip("`")) for cells in rows(section(REFERENCE / "cli.md", "Exit codes"))}
    assert told == {*range(exits.REFUSED + 1), exits.INTERRUPTED}


# dependencies, promises


def test_every_dependency_is_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = DOCS / "explanation/dependencies.md"
    base = {re.split(r"[\[><=; ]", one)[0] for one in project["dependencies"]}
    assert once(named(prose(page).partition("\n## ")[0])) == base
    assert set(named(section(page, "Extras"))) == set(project["optional-dependencies"])
    extras = project["optional-dependencies"]
    tools = {re.split(r"[\[><=; ]", one)[0] for one in (*extras["test"], *extras["servers"])} - {"ostinato"}
    assert once(named(section(page, "Tools of the tests"))) == tools


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_tests_that_are_named_exist(page: Path) -> None:
    for path, name in re.findall(r"`([\w/]+\.py)::(\w+)`", prose(page)):
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


# pages and links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(found), f"{page}: {target}"


def test_every_page_is_in_the_index() -> None:
    index = DOCS / "index.md"
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in links(index)}
    assert linked == set(DOCS.rglob("*.md")) - {index}


@pytest.mark.parametrize("page", sorted((DOCS / "how-to").glob("*.md")), ids=lambda page: page.name)
def test_every_how_to_ends_with_what_may_go_wrong(page: Path) -> None:
    assert headings(page, 2)[-1] == "If it goes wrong"


def test_pages_hold_no_paths_of_somebodys_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/(home|root|Users|work|tmp)/", page.read_text()), page


def test_the_readme_gives_both_commands_to_the_letter() -> None:
    typed = [block.text.strip() for block in blocks(ROOT / "README.md") if block.language == "sh"]
    assert typed == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/ostinato demo",
        "python3 -m venv .venv-test && .venv-test/bin/pip install tox && .venv-test/bin/tox",
    ]


def test_every_fault_names_its_test_or_says_why_there_is_none() -> None:
    numbers = []
    for number, fault, happens, proof in rows(prose(DOCS / "explanation/faults.md")):
        numbers.append(int(number))
        assert "::test_" in proof or (proof == "none" and re.search(r"[Nn]ot|no ", happens)), fault
    assert numbers == [*range(1, 50)]


def test_every_promise_names_its_test() -> None:
    page = DOCS / "explanation/promises.md"
    promised = prose(page).partition("## What is not promised")[0]
    for title in headings(page, 2)[:-1]:
        text = section(page, title)
        assert "::test_" in text, title
        for bullet in re.split(r"\n(?=- )", text)[1:] if text.lstrip().startswith("- ") else ():
            assert "::test_" in bullet, bullet
    assert promised.count("::test_") > 25
