"""The HTTP server: OpenAI's and whisper.cpp's APIs, and a page, on one model and one device."""
