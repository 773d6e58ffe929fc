"""What has happened, on the code at hand: recorded runs, from a server or a file, replayed without effect."""

from aiki.replay.judging import replay
from aiki.replay.recording import Recording
from aiki.replay.verdicts import Finding, Verdict

__all__ = ["Finding", "Recording", "Verdict", "replay"]
