"""From a study file to its plan: every stage with its key, its inputs and its cost. Knows nothing of torch."""
