"""What checks of the programs share: the program under test, HTTP/1 as bytes, metrics as text, a browser, free ports, the lines that results are."""
