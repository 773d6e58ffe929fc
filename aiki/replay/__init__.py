"""What has happened, on the code at hand: recorded runs, from a server or a file, replayed without effect."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from aiki.replay.recording import Recording
from aiki.replay.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from aiki.replay.judging import replay
    from aiki.replay.processes import Code, replay_apart

__all__ = ["Code", "Finding", "Recording", "Verdict", "replay", "replay_apart"]

_LATER: Final = {"Code": "processes", "replay": "judging", "replay_apart": "processes"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
