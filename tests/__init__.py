"""The tests of the project; the docstring of each test is the promise that it proves."""
