"""Stores as people look at them: pictures, reports, comparisons, cards. Read with the loader, as a trainer reads them."""
