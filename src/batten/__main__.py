"""`python -m batten` is the command `batten`."""

import sys

from .cli import main

sys.exit(main())
