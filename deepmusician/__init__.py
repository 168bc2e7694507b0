"""Deep Musician: train a small music model on your own MIDI, hear it learn, and compose with it."""

__version__ = "0.2.0"
