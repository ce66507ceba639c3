"""Run a `headrace` command, killed at a failpoint: `python -m tests.support.dying POINT TIMES retention apply`."""

import sys

from operations.cli import main
from schemas.failpoints import FailPoint
from tests.support import failpoints

if __name__ == "__main__":
    point, times = FailPoint[sys.argv[1]], int(sys.argv[2])
    failpoints.at(point, times)
    sys.argv[1:] = sys.argv[3:]
    main()
