"""`python -m vla`: the console script, wherever it is not on PATH."""

import sys

from vla.cli import main

if __name__ == "__main__":
    sys.exit(main())
