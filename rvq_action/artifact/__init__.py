"""What a tokenizer looks like on disk and on the hub."""
