"""Entry point of `python -m nuages.dbinit`."""

import sys

from nuages.dbinit.main import main

sys.exit(main(sys.argv[1:]))
