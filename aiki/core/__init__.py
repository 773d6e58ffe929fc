"""The rules of Aiki as pure code: no I/O, no clock, no randomness that is not passed in."""
