"""Windows over samples and decisions over scores: a pipeline is a value, pure, and survives a crash by its marks."""
