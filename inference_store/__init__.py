"""Inference Store: what models inferred, kept, browsed, filtered, exported and in time deleted."""
