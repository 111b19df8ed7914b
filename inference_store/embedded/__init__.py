"""The one-command default: a real PostgreSQL and a real Redis from wheels."""
