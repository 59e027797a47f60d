"""What `tidegate demo` shows: the files that a user would write, three turns of a session, and both sides' books."""
