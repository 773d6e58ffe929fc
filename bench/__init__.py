"""Workloads W1-W7 on real servers, and the ceiling sketch beside them."""
