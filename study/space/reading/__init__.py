"""A YAML as it stands: lines, places, sections with their fields, what the command line sets."""
