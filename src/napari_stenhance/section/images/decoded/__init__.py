"""What formats share that decode: imported at work only, for it loads NumPy."""
