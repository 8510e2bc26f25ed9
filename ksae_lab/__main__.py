"""`python -m ksae_lab` is the command `ksae`."""

import sys

from ksae_lab.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
