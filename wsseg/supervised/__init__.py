"""Training with true masks, for the upper bound. No other package of wsseg imports this one."""

from wsseg.supervised.true_masks import TrueMasks

__all__ = ["TrueMasks"]
