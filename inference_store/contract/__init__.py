"""What travels between client and store: pydantic models and enums, nothing else of ours, no Django."""
