"""Speed, memory and quality of xstilts against what a user would use instead; see docs/benchmarks.md."""
