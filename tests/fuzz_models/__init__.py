"""Model files under mutation: small valid ones to start from, the mutators, and trials of each in a real worker."""
