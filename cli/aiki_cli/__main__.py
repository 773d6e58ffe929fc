"""`python -m aiki_cli` is `aiki`."""

from aiki_cli.main import main

main()
