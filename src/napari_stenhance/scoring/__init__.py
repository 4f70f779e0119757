"""How predictions are judged: splits, metrics, baselines."""
