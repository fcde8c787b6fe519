"""Miniature raw datasets in their official layouts: for the demo, and for the tests.

Each module writes one dataset under a root folder from the pictures it is given. The masks are real shapes on those
pictures, so that every value in a tree is consistent with every other.
"""
