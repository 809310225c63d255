"""The command line: a file a subject. Commands read options and print; what they do is elsewhere."""
