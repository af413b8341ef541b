"""`python -m pgbeam_core`, for where the script is not on the path."""

from __future__ import annotations

import sys

from pgbeam_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
