"""`python -m deepmusician` is the command `deepmusician`."""

import sys

from deepmusician.cli import main

sys.exit(main())
