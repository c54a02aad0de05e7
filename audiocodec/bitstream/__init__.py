"""The .vpc bitstream: header, packets, entropy coding and files. Imports no torch."""
