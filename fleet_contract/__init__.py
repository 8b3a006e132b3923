"""The wire between agent and controller: topics, messages, bundle manifest, reason codes. No I/O."""
