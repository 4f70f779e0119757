"""Sections on disk: one module, or package, for each format of spots."""
