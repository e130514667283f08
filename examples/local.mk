# Programs to copy from.
