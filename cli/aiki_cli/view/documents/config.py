"""Own what is said of where commands connect, and who says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigValue:
    """A setting of commands; secrets in an address are hidden."""

    name: str
    value: str | bool | None
    source: Literal["flag", "environment", "profile", "manifest", "dev", "found", "default"]
    """What kind of place says it."""
    origin: str
    """That place: an option, a variable, or a file with its line and column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of commands."""

    values: Sequence[ConfigValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProfile:
    """A profile; addresses stand as they are written, with their variables, and without their secrets."""

    name: str
    url: str | None
    namespace: str | None
    protected: bool
    """Whether commands that change something ask before."""
    is_used: bool
    """Whether it says where commands connect now."""
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProfiles:
    """All profiles, those of the project first."""

    profiles: Sequence[ConfigProfile]
