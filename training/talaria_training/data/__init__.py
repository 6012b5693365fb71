"""Recordings: readers, loaders and the plain folder convention."""
