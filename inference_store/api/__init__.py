"""The REST door: parse with the contract, call a service or a query, answer with the contract."""

ROUTE = "api/inference-store/v1/"
"""Where every operation lives, below the root of the site."""
