"""What datasets lie in: JSON, CSV, pickles, tar, npz, mp4, folders and lists, read for the sources.

Everywhere `root` is the dataset's root, `name`, `path` and `folder` are relative to it, keys of rejects begin with `key` or
`prefix`, and `unread` counts what else lies there.
"""
