"""Studies of out-of-distribution detection: data with roles, recipes, trials and their records."""

__version__ = "0.1.0"
