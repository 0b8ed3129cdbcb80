"""Words while they are spoken: sound goes in piece by piece, lines come out."""
