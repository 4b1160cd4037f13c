"""Run a study: ``python run_study.py --space energy``; all options: ``--help``."""

import sys

from study import ending

if __name__ == "__main__":
    # before the imports take their time
    ending.listen(lambda: f"Nothing was begun; to start again: {ending.again()}")

    from study.cli import main

    sys.exit(main())
