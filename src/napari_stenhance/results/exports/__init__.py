"""Formats in which tables leave a result: a file each, here or in another package."""
