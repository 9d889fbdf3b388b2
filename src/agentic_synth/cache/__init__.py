"""Where answers are kept and found again: the canonical key, the response store, the ledger of runs."""
