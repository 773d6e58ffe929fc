"""Let `python -m aikid` run the daemon."""

import sys

if not sys.flags.safe_path:
    # Python has put the working directory first: whoever filled it must not choose what we import.
    del sys.path[0]

from aikid.main import main

main()
