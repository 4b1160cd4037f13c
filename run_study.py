"""Run a study: ``python run_study.py --space energy``; all options: ``--help``."""

import sys

from study.cli import main

if __name__ == "__main__":
    sys.exit(main())
