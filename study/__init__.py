"""Studies of out-of-distribution detection: data with roles, recipes, trials and their records."""
