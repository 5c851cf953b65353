"""What the commands of this package do with their flags: rows in, a fit, text and files out."""
