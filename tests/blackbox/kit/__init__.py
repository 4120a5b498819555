"""What the conformance kits of both programs share: case files, stub servers, forms of expected values, the command."""
