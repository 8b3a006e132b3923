"""Real processes that are killed, paused and cut off, and an account of every event afterwards."""
