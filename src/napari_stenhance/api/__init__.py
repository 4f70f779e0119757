"""The front door: what `import napari_stenhance` gives, over the tasks and the result folder."""
