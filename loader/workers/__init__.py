"""A loader that fills batches in processes or threads of its own."""
