"""The view of one trace: fetched from the three backends, explained and printed."""
