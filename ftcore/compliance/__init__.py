"""What a compliance officer asks months later: evidence, lineage, backups, and a person who is forgotten."""
