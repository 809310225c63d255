"""What every room uses and none owns: errors, units, languages, reading YAML, talking to the hub."""
