"""Rows → weights → predictions: what computes, with torch."""
