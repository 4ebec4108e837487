"""`python -m tokenizer_training`: the same as the console script `rvq-train`."""

import sys

from tokenizer_training.cli import main

if __name__ == "__main__":
    sys.exit(main())
