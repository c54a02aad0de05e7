"""Evaluation: metrics, peers, runs over folders."""
