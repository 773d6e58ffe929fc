"""Own where a user's own files are: what they have set, and what the command line keeps for them."""

from __future__ import annotations

from pathlib import Path

NAME = "aiki"


def config_folder() -> Path | None:
    """Return the folder of the user's settings; None if nobody knows of any, as without a home."""
    from platformdirs import user_config_path

    return _absolute(user_config_path(NAME))


def state_folder() -> Path | None:
    """Return the folder of what is kept between commands; None if nobody knows of any."""
    from platformdirs import user_state_path

    return _absolute(user_state_path(NAME))


def _absolute(folder: Path) -> Path | None:
    # Else it would lie in the working directory, where anybody may have put it: `~` stays where there is no home.
    return folder if folder.is_absolute() else None
