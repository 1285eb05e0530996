"""The generators of the reference pages: each module returns the text of one page."""
