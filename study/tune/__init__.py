"""The search: decisions on the ledger, and Ray Tune as the thing that runs them."""
