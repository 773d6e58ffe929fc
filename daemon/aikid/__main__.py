"""Let `python -m aikid` run the daemon."""

from aikid.main import main

main()
