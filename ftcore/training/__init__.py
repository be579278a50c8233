"""The training loop by concern: features, batches, precision, checkpoints, faults, reports. No step, run or store."""
