"""Own what stands below the help of a command: examples and exit codes. Who asks for no help imports neither."""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperCommand

_WIDTH: Final = 79


class Helped(TyperCommand):
    """A command whose help ends with examples and exit codes."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, to which Typer draws what stands above."""
        super().format_help(ctx, formatter)
        formatter.write(below(ctx.command_path.partition(" ")[2]))


def below(command: str) -> str:
    """Return the text below the help of a command; nothing of one that has none."""
    from textwrap import wrap

    from aiki_cli.words.endings import ENDINGS
    from aiki_cli.words.examples import EXAMPLES

    told = ""
    if examples := EXAMPLES.get(command):
        told += "\n".join(["\nExamples:", *(f"  {line}" for line in examples), ""])
    if endings := ENDINGS.get(command):
        words = ", ".join(f"{code} {word}" for code, word in sorted(endings.items()))
        line = wrap(f"Exit codes: {words} (aiki help exit-codes).", _WIDTH, subsequent_indent="  ")
        told += "\n".join(["", *line, ""])
    return told
