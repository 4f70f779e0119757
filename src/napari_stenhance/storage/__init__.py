"""Crash-safe tiled arrays, pyramids, and the cache of pyramids and features."""
