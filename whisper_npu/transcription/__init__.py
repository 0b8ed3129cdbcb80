"""Speech to text: faster-whisper's loop and CTranslate2's decoder, with the encoder of this project."""
