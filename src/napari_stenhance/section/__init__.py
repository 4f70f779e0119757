"""A section: a slide, spots, or both, and the grid and regions laid over it."""
