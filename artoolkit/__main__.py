"""`python -m artoolkit`: the same as the `artoolkit` command."""

import sys

from artoolkit.cli import main

sys.exit(main())
