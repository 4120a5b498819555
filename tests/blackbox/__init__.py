"""What both conformance kits stand on: the program under test, HTTP/1 as bytes, metrics as text."""
