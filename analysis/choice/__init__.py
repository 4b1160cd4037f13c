"""Which trial a study chooses, how sure that is, and how the choice is frozen."""
