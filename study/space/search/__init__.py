"""What is searched: domains, conditions, the section ``search``."""
