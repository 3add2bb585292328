"""Help that shows commands in the order in which people meet them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import click

_MORE = "More"


class SectionedGroup(click.Group):
    """A group whose help lists its commands under headings; what no heading names comes last."""

    headings: Mapping[str, Sequence[str]] = MappingProxyType({})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every command with the first sentence of its help, whole."""
        for heading, names in self._headings(ctx):
            found = [(name, command) for name in names if (command := self.get_command(ctx, name)) is not None]
            rows = [(name, first_sentence(command)) for name, command in found if not command.hidden]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows, col_max=14)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is answered with those nearest to it."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self.list_commands(ctx), ctx=ctx) from error

    def _headings(self, ctx: click.Context) -> Iterator[tuple[str, Sequence[str]]]:
        yield from self.headings.items()
        named = {name for names in self.headings.values() for name in names}
        yield _MORE, [name for name in self.list_commands(ctx) if name not in named]


def first_sentence(command: click.Command) -> str:
    """Return the first line of a command's help, without its full stop."""
    paragraph = (command.help or "").strip().partition("\n\n")[0]
    return " ".join(paragraph.split()).removesuffix(".")
