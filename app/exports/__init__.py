"""Exports: all calls that match the filters of a list, as one stream of lines."""
