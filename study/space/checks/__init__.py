"""What a space must satisfy beyond the form of its values: names, files, rules over several."""
