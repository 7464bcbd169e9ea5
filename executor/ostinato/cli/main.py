"""The command ``ostinato``: its verbs, and what becomes of errors.

A verb is a module of this package with a click command named ``command``; it is imported when
it is used. Plugins add verbs by the hook `ostinato_commands`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from ostinato.cli import exits
from ostinato.cli.terminal import print_json, say, wants_colour
from ostinato.errors import OstinatoError
from ostinato.names import suggest

VERBS = (
    "demo",
    "work",
    "post",
    "jobs",
    "show",
    "logs",
    "wait",
    "cancel",
    "rerun",
    "ps",
    "explain",
    "flow",
    "watch",
    "approve",
    "reject",
    "signal",
    "replay-check",
    "queues",
    "resources",
    "schedules",
    "copy",
    "migrate",
    "doctor",
    "check-history",
)


class Verbs(click.Group):
    """The verbs, ours in the order of `VERBS`, then those of plugins."""

    _asked = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()
        return [*VERBS, *sorted(name for name in self.commands if name not in VERBS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in VERBS:
            found: click.Command = importlib.import_module(f"ostinato.cli.{cmd_name.replace('-', '_')}").command
            return found
        self._ask_plugins()
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"There is no verb {args[0]!r}. {suggest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def _ask_plugins(self) -> None:
        if not self._asked:
            from ostinato.plugins import manager

            self._asked = True
            manager().hook.ostinato_commands(group=self)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"ostinato {version('ostinato')}, Python {sys.version.split()[0]}")
        ctx.exit()


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Durable jobs: post them, run them, look at them.

    New here? Start with: ostinato demo

    \b
    Exit codes: 0 ok, 1 a job failed, 2 wrong usage, 3 not found,
    4 store not reachable, 5 timeout, 6 refused.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(words: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Errors of the library become one line."""
    own = words[: words.index("--")] if "--" in words else words  # what follows belongs to a command line to post
    as_json = "--json" in own
    try:
        with cli.make_context("ostinato", list(words), color=wants_colour()) as context:
            code: int | None = cli.invoke(context)
        sys.stdout.flush()
        return code or exits.OK
    except click.exceptions.Exit as done:  # --help, --version
        return done.exit_code
    except click.UsageError as error:
        error.show()
        return _told(as_json, error.format_message(), "UsageError", exits.USAGE)
    except click.ClickException as error:
        say(f"Error: {error.format_message()}")
        return _told(as_json, error.format_message(), type(error).__name__, exits.USAGE)
    except (OstinatoError, TimeoutError) as error:
        say(f"{click.style('Error:', fg='red')} {error}")
        return _told(as_json, str(error), type(error).__name__, exits.code_of(error))
    except (KeyboardInterrupt, click.Abort):
        return exits.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK


def _told(as_json: bool, message: str, kind: str, code: int) -> int:
    if as_json:
        print_json({"error": message, "kind": kind})
    return code


def main(words: Sequence[str] | None = None) -> NoReturn:
    """The entry point."""
    sys.exit(run(sys.argv[1:] if words is None else words))
