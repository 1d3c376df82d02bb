"""`python -m artoolkit`: the same as the `artoolkit` command."""

import os
import sys

# -m looks first where the user stands: a json.py there is not ours.
if sys.path[0] == os.getcwd():  # noqa: PTH109 (pathlib would be imported from there)
    sys.path.append(sys.path.pop(0))

from artoolkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
