"""Offline training: recordings to models. Never runs on the device."""
