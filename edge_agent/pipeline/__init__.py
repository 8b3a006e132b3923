"""Windows on event time and decisions on scores: a pipeline is a value, pure, and the same in the daemon and in a replay."""
