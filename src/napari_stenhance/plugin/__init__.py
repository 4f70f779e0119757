"""What napari shows: the only package that knows napari and Qt."""
