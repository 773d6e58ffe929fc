"""`aiki completion SHELL`: the script that a shell sources, as it stands in `completions/` too."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from aiki_cli import options
from aiki_cli.session import Session
from aiki_cli.words import shell_scripts

if TYPE_CHECKING:
    from aiki_cli.view.found import Text


class Shell(StrEnum):
    """The shells that there are scripts for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@options.command
def completion(session: Session, shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")]) -> Text:
    """Print the completion script of a shell.

    bash: `source <(aiki completion bash)`; zsh: put it in your fpath as `_aiki`;
    fish: `aiki completion fish > ~/.config/fish/completions/aiki.fish`.
    """
    from aiki_cli.view.found import Text

    return Text(script(shell).rstrip("\n"))


def script(shell: Shell) -> str:
    """Return the script of `shell`; it asks `aiki` itself for each completion."""
    scripts = {Shell.BASH: shell_scripts.BASH, Shell.ZSH: shell_scripts.ZSH, Shell.FISH: shell_scripts.FISH}
    return scripts[shell].lstrip("\n")
