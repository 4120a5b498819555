"""What checks of the programs share: the program under test, HTTP/1 as bytes, metrics as text, a browser, the lines that results are."""
