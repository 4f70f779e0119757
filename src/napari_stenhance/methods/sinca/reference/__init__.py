"""SINCA-Net as published, in both of its versions (methods page, 1.1 to 1.6 and 1.9)."""
