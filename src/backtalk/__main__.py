"""``python -m backtalk`` is the command line."""

import sys

from backtalk.cli import main

sys.exit(main())
