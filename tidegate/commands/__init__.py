"""What the commands do; `tidegate.cli` says how they are called."""
