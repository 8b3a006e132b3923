"""Trains the models of the demo from the data that ships with it, and writes their bundle folders: `python -m models`."""
