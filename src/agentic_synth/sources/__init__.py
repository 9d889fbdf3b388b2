"""Where seed rows come from: files, stdin, Python objects, Hugging Face datasets."""
