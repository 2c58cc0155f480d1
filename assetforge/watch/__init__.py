"""Folders that watch themselves: events are hints, the scan is the truth."""
