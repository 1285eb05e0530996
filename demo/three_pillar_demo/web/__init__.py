"""The page: buy, watch three pillars move, and read why one request ended as it did. It asks ``backends``."""
