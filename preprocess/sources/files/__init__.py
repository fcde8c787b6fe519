"""Readers of the files that datasets consist of."""
