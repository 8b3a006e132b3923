"""The update machine: fetch, verify, stage, test, activate; a failure keeps the incumbent or brings it back."""
