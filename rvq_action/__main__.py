"""`python -m rvq_action`: the same as the console script `rvq-action`."""

import sys

from rvq_action.cli import main

if __name__ == "__main__":
    sys.exit(main())
