"""Blind listening tests after ITU-R BS.1534-3 (MUSHRA): a folder with a page to rate on, and what ratings say."""

from __future__ import annotations

from audiocodec.evaluate.blind.build import BlindTest, write_blind_test
from audiocodec.evaluate.blind.choose import MAX_STIMULI, MAX_SYSTEMS
from audiocodec.evaluate.blind.score import BlindScores, SystemScore, score_blind_test

__all__ = [
    "MAX_STIMULI",
    "MAX_SYSTEMS",
    "BlindScores",
    "BlindTest",
    "SystemScore",
    "score_blind_test",
    "write_blind_test",
]
