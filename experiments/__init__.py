"""Commands behind the published figures: benchmarks, and the paper's tables."""
