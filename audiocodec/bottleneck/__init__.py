"""Bottlenecks: what turns continuous latents into integers, and how training prepares for it."""
