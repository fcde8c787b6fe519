"""Dataset readers.

Opening a source, and reading an index of its, raises `SourceError` where that can't be done. What reads a record's own files
raises `RecordError`, which its scene yields as a `Reject`. Docstrings name what else is raised.
"""
