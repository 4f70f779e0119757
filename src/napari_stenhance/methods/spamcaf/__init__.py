"""SpaMCAF: crops of two sizes under gated attention."""
