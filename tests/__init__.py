"""The tests of the project; each test proves one promise."""
