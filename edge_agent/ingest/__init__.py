"""Payloads of every format become typed readings and texts, or a dead letter: pure, and nothing raises past the door."""
