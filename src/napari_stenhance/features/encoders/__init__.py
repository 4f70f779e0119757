"""Encoders: each module registers one, or a family of them, as `ENCODER`."""
