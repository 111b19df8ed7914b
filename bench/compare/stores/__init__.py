"""One module a system, each run in a process and an environment of its own."""
