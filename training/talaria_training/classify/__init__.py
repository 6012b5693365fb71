"""Telling people, or groups of people, apart by their strides: models, splits, what an accuracy is worth."""
