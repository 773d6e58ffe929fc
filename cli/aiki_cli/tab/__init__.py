"""Own what TAB offers: `aiki __complete SHELL WORD...`, which the scripts of shells call.

A TAB must never wait long, never write anything but what it offers, and never fail. So the grammar is a table that was
made before (`grammar`), what the daemon knows is kept for a while (`known`), and here nothing is imported that takes
long; only a process of its own asks a daemon (`asking`).
"""
