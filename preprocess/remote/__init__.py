"""What lies elsewhere: in an object store, on a web server, wherever fsspec reaches.

`path.RemotePath` is what sources get in place of a `pathlib.Path`. Behind it, `connection` asks and asks again, and
tells a file that is absent from a connection that is lost; `filesystem` and `web` know how to ask. `folder` writes:
stores are published with it. fsspec is imported only when a URL is opened.
"""
