"""Raw datasets and stores that lie elsewhere: in an object store, on a web server, wherever fsspec reaches.

`path.RemotePath` is what sources get in place of a `pathlib.Path`; `folder` writes: stores are published with it;
`local_copies` are for what needs a real file.
"""
