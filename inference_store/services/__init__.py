"""Writes: each one transaction, effects outside the database after commit."""
