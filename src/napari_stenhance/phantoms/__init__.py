"""The phantom: a synthetic section, H&E and spots, whose expression is known everywhere."""
