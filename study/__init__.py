"""Studies of out-of-distribution detection: data with roles, recipes, trials and their records."""

import os

__version__ = "0.1.0"

if os.environ.get("OOD_STUDY_PLUGINS"):  # of workers too: their files are found from here on
    from study.plugins import install_finder

    install_finder()
