"""What is kept: files that appear whole, records, the ledger's signed chain, and its keys."""
