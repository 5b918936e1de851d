"""The program: ``vpnctl``, or ``python -m vpnctl``."""

from __future__ import annotations

import os
import sys

# Nothing here multiplies matrices, and numpy's threads for that spin for a while when they start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Entry point; also a Ctrl-C while modules are still being loaded ends without a traceback."""
    try:
        from vpnctl.cli.main import run

        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
