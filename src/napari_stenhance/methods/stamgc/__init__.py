"""STAMGC: spatial domains from spots, cells or superpixels."""
