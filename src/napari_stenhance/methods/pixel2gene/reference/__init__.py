"""Pixel2Gene and iStar as published: min-max counts, one small MLP for each fold or start."""
