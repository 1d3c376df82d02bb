"""`python -m artoolkit`: the same as the `artoolkit` command."""

import sys

from artoolkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
