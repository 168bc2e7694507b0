"""Models: a backbone carries time, a head says what one frame is, an arrangement joins them. See `contract`."""
