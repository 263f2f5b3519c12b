"""Generated text as word ids: stories with questions (memnet), parallel sentences (seq2seq), endless text (language models)."""
