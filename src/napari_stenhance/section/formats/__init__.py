"""One module for each file format; each has a cheap recogniser and a reader."""
