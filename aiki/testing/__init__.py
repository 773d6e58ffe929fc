"""Tests of workflows without servers: the real execution on an engine in memory, in virtual time."""
