"""The write-ahead log, and the thread that drains it into the store."""
