"""Speech and time series of transformers, first zoo."""

from __future__ import annotations

import torch

from ..registry import BATCH, VOCABULARY, Zoo
from .transformers_text import SEQ2SEQ

__all__ = ["SPEECH", "SPOKEN", "fill", "recordings"]

SPEECH = {
    "vocab_size": 32,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16, 16],
    "conv_kernel": [10, 3],
    "conv_stride": [5, 2],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "num_labels": 4,
    "classifier_proj_size": 16,
    "apply_spec_augment": False,
}
"""Fields that wav2vec 2 and its kin share."""

SPOKEN = {k: v for k, v in SEQ2SEQ.items() if k != "max_position_embeddings"}
"""Fields of an encoder of speech with a decoder of text."""


def recordings() -> dict[str, torch.Tensor]:
    """Waves, each of a class."""
    return {"input_values": torch.randn(BATCH, 400), "labels": torch.randint(0, 4, (BATCH,))}


def _transcribed() -> dict[str, torch.Tensor]:
    return {"input_values": torch.randn(BATCH, 400), "labels": torch.randint(3, 30, (BATCH, 5))}


def _spectra() -> dict[str, torch.Tensor]:
    return {"input_features": torch.randn(BATCH, 16, 40), "labels": torch.randint(3, VOCABULARY, (BATCH, 6))}


def sales() -> dict[str, torch.Tensor]:
    """A batch of series, with what is known of their times."""
    return {
        "past_values": torch.rand(BATCH, 24),
        "past_time_features": torch.randn(BATCH, 24, 2),
        "past_observed_mask": torch.ones(BATCH, 24),
        "future_values": torch.rand(BATCH, 6),
        "future_time_features": torch.randn(BATCH, 6, 2),
    }


def _channels() -> dict[str, torch.Tensor]:
    return {"past_values": torch.randn(BATCH, 32, 3), "future_values": torch.randn(BATCH, 8, 3)}


def fill(zoo: Zoo) -> None:
    """Add them."""
    zoo.transformers(
        "whisper",
        "Whisper",
        "ForConditionalGeneration",
        _spectra,
        **SPOKEN,
        num_mel_bins=16,
        max_source_positions=20,
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    zoo.transformers("wav2vec2", "Wav2Vec2", "ForSequenceClassification", recordings, **SPEECH)
    zoo.transformers("hubert", "Hubert", "ForSequenceClassification", recordings, **SPEECH)
    zoo.transformers("wav2vec2-ctc", "Wav2Vec2", "ForCTC", _transcribed, **SPEECH)
    series = {k: v for k, v in SPOKEN.items() if k != "vocab_size"}
    zoo.transformers(
        "time-series",
        "TimeSeriesTransformer",
        "ForPrediction",
        sales,
        **series,
        prediction_length=6,
        context_length=17,
        num_time_features=2,
        lags_sequence=[1, 2, 7],
    )
    zoo.transformers(
        "patchtst",
        "PatchTST",
        "ForPrediction",
        _channels,
        num_input_channels=3,
        context_length=32,
        patch_length=8,
        patch_stride=8,
        prediction_length=8,
        d_model=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
    )
