"""Who proposes the parameters of trials."""
