"""A `headrace` command that dies at a named moment: `python -m tests.chaos.dying POINT TIMES retention apply`."""

import sys

from operations.cli import main
from schemas.killpoints import KillPoint
from tests import crashing

if __name__ == "__main__":
    point, times = KillPoint[sys.argv[1]], int(sys.argv[2])
    crashing.at(point, times)
    sys.argv[1:] = sys.argv[3:]
    main()
