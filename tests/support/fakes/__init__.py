"""Stand-ins for what is slow or absent: a CUDA device, its recorder, the stages of a study."""
