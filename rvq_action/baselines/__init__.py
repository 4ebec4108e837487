"""Action tokenizers to compare with, written from their published descriptions."""

from rvq_action.baselines.bins import BinTokenizer
from rvq_action.baselines.fast import FastTokenizer

__all__ = ["BinTokenizer", "FastTokenizer"]
