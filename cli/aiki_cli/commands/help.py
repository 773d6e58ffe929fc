"""`aiki help`: topics, the schemas of what commands say as JSON, and the help of any command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aiki import UsageError
from aiki_cli import options
from aiki_cli.session import Session
from aiki_cli.words import suggestions

if TYPE_CHECKING:
    from aiki_cli.running import Result

_JSON: Final = "json"
_TOPICS: Final = suggestions.one_of(
    *("connection", "environment", "exit-codes", "formatting", "json", "manifest", "payloads")
)


@options.command
def help_(
    session: Session,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOPIC | COMMAND]...", help="What to tell of.", autocompletion=_TOPICS),
    ] = None,
) -> Result:
    """Tell of a topic, or of a command. `aiki help json COMMAND` prints the JSON Schema of what it says.

    With -o jsonl that of a line.
    """
    from aiki_cli.view.found import Text
    from aiki_cli.words.topics import TOPICS

    match words or ():
        case []:
            return Text(_topics())
        case ["json"]:
            from aiki_cli.view.shown_schemas import outputs

            return outputs()
        case ["json", *command]:
            from aiki_cli.view.shown_schemas import schema

            return schema(" ".join(command), is_line=session.out.mode == "jsonl")
        case [topic] if topic in TOPICS:
            return Text(TOPICS[topic].text().rstrip("\n"))
        case asked:
            return _of_command(asked)


def _topics() -> str:
    from aiki_cli.words.topics import TOPICS

    about = {**{name: topic.about for name, topic in TOPICS.items()}, _JSON: "the schema of what each command says"}
    lines = [f"  aiki help {name:<12} {words}" for name, words in sorted(about.items())]
    return "\n".join([*lines, "", "  aiki help COMMAND      what aiki COMMAND --help tells"])


def _of_command(words: Sequence[str]) -> int:
    """Tell of a command as its `--help` does, and return the exit code. Raises UsageError if there is none."""
    from aiki.core.near import nearest
    from aiki_cli import app, tree
    from aiki_cli.words.topics import TOPICS

    asked = " ".join(words)
    known = [*TOPICS, _JSON, *tree.paths()]
    if asked not in tree.paths():
        meant = nearest(asked, known)
        raise UsageError(
            f"there is no topic and no command {asked!r}{f': did you mean {meant}?' if meant else ''}",
            hint=f"aiki help {meant}" if meant else "aiki help",
        )
    return app.run([*asked.split(), "--help"])
