"""URLs: file systems of fsspec and web servers, asked again where that may help. Writer and loader share it."""
