"""Faithful miniature raw datasets, written in their official layouts: for tests, and for the demo.

Each module writes one dataset under a root folder from the pictures it is given. The masks are real shapes on those
pictures, so that every value in a tree is consistent with every other.
"""
