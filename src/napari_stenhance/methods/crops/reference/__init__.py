"""HisToSGE and SpaMCAF as published."""
