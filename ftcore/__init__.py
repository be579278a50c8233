"""ftcore fine-tunes language models on a company's own data and looks after them for the rest of their lives."""
