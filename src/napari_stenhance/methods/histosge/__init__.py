"""HisToSGE: crops with a position code, attention between positions."""
