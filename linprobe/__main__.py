"""`python -m linprobe`: the command line."""

import sys

from linprobe.cli import main

if __name__ == "__main__":
    sys.exit(main())
