"""Pixel2Gene: an MLP from a superpixel's histology features to gene expression."""
