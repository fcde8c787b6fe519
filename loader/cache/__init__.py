"""Parts of a store at a URL, kept on this machine; never imported for a path."""
