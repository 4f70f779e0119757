"""Images: one module for each format of slides."""
