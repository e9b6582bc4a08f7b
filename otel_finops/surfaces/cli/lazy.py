"""Groups whose commands are made when they are asked for: `--help` needs names and sentences, no command and no room of ours."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import typer
import typer.core
import typer.main

Command = Callable[..., None]
_NEAR: Final = 0.6


class Listed(NamedTuple):
    """What a group knows of a command before it is made.

    Attributes:
        help: its first sentence.
        make: makes it: a function as typer takes it, or what a group knows of its commands, by name.
    """

    help: str
    make: Callable[[], Command | Mapping[str, Listed]]


class LazyGroup(typer.core.TyperGroup):
    """A group over `listed`, which says at any time what there is; subclasses are made by `group_class`."""

    listed: Callable[[], Mapping[str, Listed]]
    """Commands and groups by name, in the order in which they are shown."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names."""
        return list(self.listed())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; None when there is none of that name."""
        if cmd_name not in self.commands and (one := self.listed().get(cmd_name)) is not None:
            self.commands[cmd_name] = _made(cmd_name, one)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Names and sentences, without making a command."""
        rows = [(name, one.help) for name, one in self.listed().items()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names that begin so, without making a command."""
        item = typer.core.CompletionItem  # type: ignore[attr-defined]
        names = [item(name, help=one.help) for name, one in self.listed().items() if name.startswith(incomplete)]
        return [*names, *super(typer.core.TyperGroup, self).shell_complete(ctx, incomplete)]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of the first word; a word that is none is told of with the nearest ones."""
        if args and not args[0].startswith("-") and args[0] not in self.listed() and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}.{_did_you_mean(args[0], list(self.listed()))} `{ctx.command_path} --help` lists all.")
        return super().resolve_command(ctx, args)


def group_class(listed: Callable[[], Mapping[str, Listed]]) -> type[LazyGroup]:
    """A class of groups over these commands: typer makes groups of classes."""
    return type("Commands", (LazyGroup,), {"listed": staticmethod(listed)})


def _made(name: str, one: Listed) -> Any:
    made = one.make()
    if isinstance(made, Mapping):
        commands = made
        app = typer.Typer(cls=group_class(lambda: commands), no_args_is_help=True, rich_markup_mode=None, help=one.help)
        app.info.name = name
        return typer.main.get_group(app)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name)(made)
    return typer.main.get_command(app)


def first_sentence(command: Command) -> str:
    """The first sentence of a command's help."""
    text = " ".join((command.__doc__ or "").split())
    return text.partition(". ")[0].rstrip(".") + "."


def _did_you_mean(word: str, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, words, n=3, cutoff=_NEAR)
    return f" Did you mean {' or '.join(near)}?" if near else ""
