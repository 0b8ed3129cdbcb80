"""This project's encoder inside models of faster-whisper, transformers and openai-whisper."""
