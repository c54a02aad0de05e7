"""The table of VP-VAE (arXiv 2602.17133) at the scale of the machine at hand; ``run.py`` is the command."""
