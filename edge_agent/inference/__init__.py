"""Models at work: bundles on disk, and one worker process per model that turns windows and texts into scores."""
