"""Attacks on the way of a release to a device: a table of them, played against a real agent with really signed metadata."""
