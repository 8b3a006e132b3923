"""Intake: what devices publish goes into the database in batches, and is acknowledged to them after the commit."""
