"""Benchmarks: `python -m bench` (`make bench`) and `python -m bench --scale` (`make bench-scale`)."""
