"""Offline preprocessing: raw datasets in, stores of ready training tensors out."""

__version__ = "0.1.0"
