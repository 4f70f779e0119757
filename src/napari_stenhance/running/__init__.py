"""How work is run: jobs, progress, cancellation, devices. Knows nothing of slides."""
