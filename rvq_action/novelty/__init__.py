"""Does this tokenizer fit these chunks?"""
