"""``python -m ood_study``: the same as the command ``ood-study``."""

import sys

from ood_study.cli import main

if __name__ == "__main__":
    sys.exit(main())
