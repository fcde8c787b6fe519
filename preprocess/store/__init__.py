"""A store on disk: written part by part, made visible by renames, finished last."""
