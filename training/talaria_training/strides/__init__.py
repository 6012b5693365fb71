"""Strides as data: one table, however the strides were measured, cut or published."""
