"""Pictures with text, sound and series of transformers, further zoo."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from ..first_parts.audio_and_series import SPEECH, SPOKEN, recordings, sales
from ..first_parts.transformers_vision import PATCHES
from ..registry import BATCH, LENGTH, SIZES, VOCABULARY, Zoo, tokens

__all__ = ["fill"]

_TEXT = {**SIZES, "max_position_embeddings": 32, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}


def _captions() -> dict[str, torch.Tensor]:
    ids = tokens(labels=False, mask=False)["input_ids"]
    return {"input_ids": ids, "pixel_values": torch.randn(BATCH, 3, 32, 32)}


def _attended() -> dict[str, torch.Tensor]:
    return {**_captions(), "attention_mask": torch.ones(BATCH, LENGTH, dtype=torch.long)}


def _answers() -> dict[str, torch.Tensor]:
    return {**_attended(), "labels": torch.randint(3, VOCABULARY, (BATCH, LENGTH))}


def _pairs(outputs: Any, batch: Any) -> torch.Tensor:
    return F.cross_entropy(outputs.logits_per_text, torch.arange(BATCH))


def _signs(outputs: Any, batch: Any) -> torch.Tensor:
    logits = outputs.logits_per_text
    return -F.logsigmoid(logits * (2 * torch.eye(BATCH, dtype=logits.dtype) - 1)).mean()


def _prompted() -> dict[str, torch.Tensor]:
    return {**_attended(), "labels": torch.rand(BATCH, 32, 32)}


def _flava() -> dict[str, torch.Tensor]:
    return _attended()


def fill(zoo: Zoo) -> None:
    """Add them."""
    _pictures(zoo)
    _sound(zoo)
    _series(zoo)


def _pictures(zoo: Zoo) -> None:
    both = {"text_config": _TEXT, "vision_config": PATCHES}
    zoo.transformers("siglip", "Siglip", "Model", _captions, _signs, **both)
    zoo.transformers(
        "blip",
        "Blip",
        "ForConditionalGeneration",
        _answers,
        text_config={**_TEXT, "encoder_hidden_size": 32, "sep_token_id": 2},
        vision_config=PATCHES,
        projection_dim=16,
    )
    zoo.transformers(
        "clipseg",
        "CLIPSeg",
        "ForImageSegmentation",
        _prompted,
        **both,
        projection_dim=16,
        extract_layers=[0, 1],
        reduce_dim=16,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=32,
        conditional_layer=0,
    )
    zoo.transformers(
        "altclip",
        "AltCLIP",
        "Model",
        _attended,
        _pairs,
        text_config={**_TEXT, "project_dim": 16},
        vision_config=PATCHES,
        projection_dim=16,
    )
    zoo.transformers("chinese-clip", "ChineseCLIP", "Model", _attended, _pairs, **both, projection_dim=16)
    zoo.transformers(
        "flava",
        "Flava",
        "Model",
        _attended,
        lambda o, b: o.multimodal_embeddings.sin().pow(2).mean() + o.text_embeddings.mean(),
        text_config=SIZES,
        image_config=PATCHES,
        multimodal_config={k: v for k, v in SIZES.items() if k != "vocab_size"},
        hidden_size=32,
        projection_dim=16,
    )
    zoo.transformers(
        "vilt",
        "Vilt",
        "ForQuestionAnswering",
        lambda: {**_attended(), "labels": torch.rand(BATCH, 5)},
        **{**_TEXT, **PATCHES},
        num_labels=5,
        max_image_length=-1,
    )
    zoo.transformers("git", "Git", "ForCausalLM", _git, **_TEXT, vision_config=PATCHES)
    zoo.transformers(
        "llava",
        "Llava",
        "ForConditionalGeneration",
        _llava,
        text_config=_llama(),
        vision_config={**PATCHES, "model_type": "clip_vision_model"},
        image_token_id=3,
        vision_feature_layer=-1,
    )
    zoo.transformers(
        "layoutlmv3",
        "LayoutLMv3",
        "ForTokenClassification",
        _page,
        **{**_TEXT, "hidden_size": 48},
        input_size=32,
        patch_size=8,
        coordinate_size=8,
        shape_size=8,
        max_2d_position_embeddings=64,
        num_labels=5,
    )


def _page() -> dict[str, torch.Tensor]:
    corners = torch.randint(0, 20, (BATCH, LENGTH, 2))
    return {
        **_attended(),
        "bbox": torch.cat([corners, corners + torch.randint(1, 20, (BATCH, LENGTH, 2))], -1),
        "labels": torch.randint(0, 5, (BATCH, LENGTH)),
    }


def _git() -> dict[str, torch.Tensor]:
    batch = _attended()
    return {**batch, "labels": torch.randint(3, VOCABULARY, (BATCH, LENGTH))}


def _llama() -> dict[str, Any]:
    return {**SIZES, "model_type": "llama", "num_key_value_heads": 2, "pad_token_id": 0}


def _llava() -> dict[str, torch.Tensor]:
    ids = torch.cat([torch.full((BATCH, 16), 3), torch.randint(4, VOCABULARY, (BATCH, 6))], 1)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(BATCH, 3, 32, 32),
        "labels": ids.clone(),
    }


def _transcribed() -> dict[str, torch.Tensor]:
    return {"input_values": torch.randn(BATCH, 400), "wanted": torch.randint(3, 30, (BATCH, 5))}


def _aligned(outputs: Any, batch: Any) -> torch.Tensor:
    """CTC outside of the model, over targets that are all of one length."""
    chances = outputs.logits.log_softmax(-1).transpose(0, 1)
    frames, lengths = torch.full((BATCH,), chances.shape[0]), torch.full((BATCH,), 5)
    return F.ctc_loss(chances, batch["wanted"], frames, lengths, reduction="sum")


def _sound(zoo: Zoo) -> None:
    head = "ForSequenceClassification"
    zoo.transformers("sew", "SEW", head, recordings, **SPEECH, squeeze_factor=2)
    zoo.transformers("wav2vec2-ctc-outside", "Wav2Vec2", "ForCTC", _transcribed, _aligned, **SPEECH)
    zoo.transformers("unispeech", "UniSpeech", head, recordings, **SPEECH)
    zoo.transformers("unispeech-sat", "UniSpeechSat", head, recordings, **SPEECH)
    zoo.transformers("wavlm", "WavLM", head, recordings, **SPEECH, num_buckets=32, max_bucket_distance=40)
    zoo.transformers(
        "data2vec-audio",
        "Data2VecAudio",
        head,
        recordings,
        **{**SPEECH, "num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 3},
    )
    bert = {k: v for k, v in SPEECH.items() if "conv" not in k}
    zoo.transformers(
        "wav2vec2-bert",
        "Wav2Vec2Bert",
        head,
        lambda: {"input_features": torch.randn(BATCH, 20, 16), "labels": torch.randint(0, 4, (BATCH,))},
        **bert,
        feature_projection_input_dim=16,
        conv_depthwise_kernel_size=5,
        left_max_position_embeddings=4,
        right_max_position_embeddings=4,
    )
    zoo.transformers(
        "wav2vec2-conformer", "Wav2Vec2Conformer", head, recordings, **SPEECH, conv_depthwise_kernel_size=5
    )
    zoo.transformers(
        "ast",
        "AST",
        "ForAudioClassification",
        lambda: {"input_values": torch.randn(BATCH, 32, 16), "labels": torch.randint(0, 5, (BATCH,))},
        **{k: v for k, v in PATCHES.items() if k != "image_size"},
        max_length=32,
        num_mel_bins=16,
        frequency_stride=8,
        time_stride=8,
        num_labels=5,
    )
    zoo.transformers(
        "speech-to-text",
        "Speech2Text",
        "ForConditionalGeneration",
        lambda: {"input_features": torch.randn(BATCH, 24, 16), "labels": torch.randint(3, VOCABULARY, (BATCH, 6))},
        **SPOKEN,
        input_feat_per_channel=16,
        conv_channels=16,
        max_source_positions=24,
        max_target_positions=16,
    )
    zoo.transformers(
        "speecht5",
        "SpeechT5",
        "ForSpeechToText",
        lambda: {"input_values": torch.randn(BATCH, 400), "labels": torch.randint(3, 30, (BATCH, 5))},
        **{
            k: v
            for k, v in SPEECH.items()
            if k not in ("num_hidden_layers", "num_attention_heads", "intermediate_size")
        },
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_speech_positions=64,
        max_text_positions=32,
        encoder_max_relative_position=8,
        decoder_start_token_id=2,
    )
    zoo.transformers(
        "clap-audio",
        "ClapAudio",
        "Model",
        lambda: {"input_features": torch.randn(BATCH, 1, 64, 16), "is_longer": torch.zeros(BATCH, 1, dtype=torch.bool)},
        lambda o, b: o.pooler_output.sin().mean(),
        num_mel_bins=16,
        spec_size=32,
        patch_size=4,
        patch_stride=[4, 4],
        window_size=4,
        patch_embeds_hidden_size=16,
        depths=[1, 1],
        num_attention_heads=[2, 4],
        hidden_size=32,
        num_hidden_layers=2,
        enable_fusion=False,
    )
    zoo.transformers(
        "encodec",
        "Encodec",
        "Model",
        lambda: {"input_values": torch.randn(BATCH, 1, 320)},
        lambda o, b: F.mse_loss(o.audio_values, b["input_values"]),
        num_filters=4,
        hidden_size=16,
        codebook_size=16,
        upsampling_ratios=[4, 2],
        num_lstm_layers=1,
        target_bandwidths=[24.0],
    )


def _series(zoo: Zoo) -> None:
    series = {k: v for k, v in SPOKEN.items() if k != "vocab_size"}
    window = {"prediction_length": 6, "context_length": 17, "num_time_features": 2, "lags_sequence": [1, 2, 7]}
    zoo.transformers("informer", "Informer", "ForPrediction", sales, **series, **window, distribution_output="normal")
    zoo.transformers(
        "autoformer",
        "Autoformer",
        "ForPrediction",
        sales,
        **series,
        **window,
        distribution_output="normal",
        label_length=4,
    )
    zoo.transformers(
        "time-series-normal",
        "TimeSeriesTransformer",
        "ForPrediction",
        sales,
        **series,
        **window,
        distribution_output="normal",
    )
    zoo.transformers(
        "patchtsmixer",
        "PatchTSMixer",
        "ForPrediction",
        lambda: {"past_values": torch.randn(BATCH, 32, 3), "future_values": torch.randn(BATCH, 8, 3)},
        num_input_channels=3,
        context_length=32,
        patch_length=8,
        patch_stride=8,
        prediction_length=8,
        d_model=16,
        num_layers=2,
    )
    zoo.transformers(
        "timesfm",
        "TimesFm",
        "ModelForPrediction",
        lambda: {"past_values": torch.randn(BATCH, 32), "future_values": torch.randn(BATCH, 8)},
        config="TimesFmConfig",
        patch_length=8,
        context_length=32,
        horizon_length=8,
        hidden_size=32,
        intermediate_size=32,
        head_dim=8,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    zoo.transformers(
        "decision-transformer",
        "DecisionTransformer",
        "Model",
        _episodes,
        lambda o, b: F.mse_loss(o.action_preds, b["wanted"]),
        state_dim=5,
        act_dim=3,
        hidden_size=32,
        n_layer=2,
        n_head=4,
        n_positions=32,
        max_ep_len=16,
    )


def _episodes() -> dict[str, torch.Tensor]:
    return {
        "states": torch.randn(BATCH, 4, 5),
        "actions": torch.randn(BATCH, 4, 3),
        "rewards": torch.randn(BATCH, 4, 1),
        "returns_to_go": torch.randn(BATCH, 4, 1),
        "timesteps": torch.arange(4).expand(BATCH, -1).clone(),
        "attention_mask": torch.ones(BATCH, 4),
        "wanted": torch.randn(BATCH, 4, 3),
    }
