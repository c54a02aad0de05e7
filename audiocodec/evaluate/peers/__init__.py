"""Other codecs, run in the same evaluation over the same files."""

from __future__ import annotations

from audiocodec.evaluate.peers.command import CommandPeer, command_systems
from audiocodec.evaluate.peers.registry import PEERS, peer_systems

__all__ = ["KNOWN_PEERS", "PEER_DESCRIPTIONS", "CommandPeer", "command_systems", "peer_systems"]

KNOWN_PEERS: tuple[str, ...] = tuple(PEERS)
PEER_DESCRIPTIONS: dict[str, str] = {name: peer.about for name, peer in PEERS.items()}
