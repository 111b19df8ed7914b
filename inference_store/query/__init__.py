"""Reads: the contract's filter in, rows, pages, counts, statistics and neighbours out."""
