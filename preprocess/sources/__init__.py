"""Raw datasets: what a source, a scene and a record are, and a reader for each dataset."""
