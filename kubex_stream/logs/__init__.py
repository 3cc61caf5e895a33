"""Container logs without a network: lines, their times, and where a reader is in a log that it has to ask for again."""
