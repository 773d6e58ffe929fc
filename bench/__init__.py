"""Workloads W1-W6 on real servers, and the ceiling sketch beside them."""
