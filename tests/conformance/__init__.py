"""The agent's own updater behind the client interface of the public tuf-conformance suite, and that suite's main cases."""
