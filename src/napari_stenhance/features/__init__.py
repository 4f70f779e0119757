"""Encoders turn tissue into one feature vector for each superpixel, tile by tile."""
