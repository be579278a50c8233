"""What production looks like against what the champion was trained on."""
