"""Generated text as word ids: stories with questions, parallel sentences, endless text for language models."""
