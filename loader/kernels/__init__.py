"""The loops that fill a batch, compiled, and what does the same in numpy where nothing is compiled."""
