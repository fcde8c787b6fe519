"""A second opinion on a store: every promise it makes, checked by code of its own."""
