"""Pixel2Gene, preset `blended`: what the image says, and what the spots around count."""
