"""OOD scores, metrics of them, and the number that a search minimises."""
