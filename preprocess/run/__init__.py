"""A conversion: planned, done part by part by many processes, finished."""
