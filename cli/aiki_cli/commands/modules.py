"""Own `-m NAME`, by which commands are told whose workflows they work with."""

from __future__ import annotations

from typing import Annotated

import typer

from aiki_cli.words import suggestions

Modules = Annotated[
    list[str] | None,
    typer.Option(
        "-m",
        "--module",
        metavar="NAME",
        help="A name of the manifest, or a module. May repeat.",
        autocompletion=suggestions.modules,
    ),
]
