"""Which recipe is worth running for a target, from cheap evidence on English data: one file a method."""
