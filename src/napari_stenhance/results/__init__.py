"""Result folders: what was computed for one section, in open formats."""
