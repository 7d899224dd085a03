"""`python3 scripts/rig ...`: the rig's own command line (see cli.py)."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig import cli  # noqa: E402

sys.exit(cli.main(sys.argv[1:]))
