"""`bundle-build completion`: the script that lets a shell complete our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from bundler.cli.context import Output

SHELLS = ("bash", "fish", "zsh")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, /, shell: str) -> None:
    """Print the script that completes commands and options in SHELL: bash, fish or zsh.

    Put it where your shell looks for completions, as the examples do, and open a new shell. For zsh the directory
    must be on fpath: fpath+=~/.zfunc before compinit in ~/.zshrc.
    """
    output: Output = context.obj
    root = context.find_root()
    program = root.info_name or ""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    script = found(root.command, {}, program, variable).source()
    output.show({"shell": shell, "script": script}, lambda: output.out(script.rstrip("\n")))
