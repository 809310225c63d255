"""Rows → weights → predictions: what computes, with torch."""

from xstilts.common.extras import need

need("train", "torch", "transformers", "accelerate")
