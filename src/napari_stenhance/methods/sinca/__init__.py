"""SINCA-Net: genes that the spots did not measure, from single cells (methods page, part 1)."""
