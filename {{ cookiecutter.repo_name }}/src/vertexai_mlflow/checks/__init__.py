"""What ``doctor`` looks at: first on this machine, then by asking Google and MLflow."""
