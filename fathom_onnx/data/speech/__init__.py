"""Synthesised speech for speech: phonemes, utterances and their cepstral coefficients."""
