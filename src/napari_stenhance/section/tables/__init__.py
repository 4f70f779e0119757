"""Tables of counts and positions in files that are not believed."""
