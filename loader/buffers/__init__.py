"""Memory for batches: slots that are made once and filled again and again."""
