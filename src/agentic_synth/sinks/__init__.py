"""Where rows go: JSON Lines, JSON, CSV and Parquet files, and stdout."""
