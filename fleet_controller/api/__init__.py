"""The HTTP API for operators (`/api/v1`) and the artifact downloads for devices (`/artifacts`)."""
