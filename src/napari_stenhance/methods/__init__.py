"""The published methods, behind one protocol: fit on samples, predict latents, decode genes."""
