"""Timings and memory side by side in one run; machines are shared, so only ratios count."""
