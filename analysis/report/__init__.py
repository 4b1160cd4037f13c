"""What readers get: the page, views of a terminal, tables for papers, methods sentences."""
