"""This store beside others, on one workload with exact answers: python -m bench.compare --help."""
