"""How far the times of a run can be trusted: its tables come in, sentences on what cannot be go out."""
