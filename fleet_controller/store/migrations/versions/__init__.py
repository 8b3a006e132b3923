"""One file for each step of the schema; a step only adds, and what it replaces is dropped a release later."""
