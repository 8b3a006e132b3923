"""What the trust child does: signed metadata, the download and the checks on its bytes. Only `job` is for the daemon too."""
