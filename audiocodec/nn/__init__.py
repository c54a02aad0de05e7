"""The network: causal layers with explicit state, and the encoder and decoder built of them."""
