"""Bytes to pixels and masks."""
