"""What makes files of the package, run by hand where these are to change; not installed."""
