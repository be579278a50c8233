"""What a recipe may say: its sections, kinds and faults."""
