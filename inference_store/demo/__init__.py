"""Real models run on real pictures and texts that come inside Python packages, sent through the SDK.

One module a model; each offers `MODEL`. `catalogue` lists them, `sending` brings them to a store. Uses the
client and the contract like any script outside, and the packages of the extra `demo`.
"""
