"""Settings tried before the training: searches, trials and cross-validation."""
