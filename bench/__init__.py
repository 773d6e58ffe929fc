"""Workloads W1-W5 on real servers, and the ceiling sketch beside them."""
