"""The contract between writer and loader: what a store is, in one place each. It imports nothing else of this project."""
