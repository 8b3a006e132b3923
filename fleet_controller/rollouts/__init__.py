"""Rollouts: a release goes out in waves; each next wave starts only on evidence from every device of the last one."""
