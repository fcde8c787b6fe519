"""The commands, one a file; each is imported when it is called, or its help is asked for."""
