"""Text models of transformers, first zoo: encoders, decoders, experts, both together, state spaces."""

from __future__ import annotations

import torch

from ..registry import BATCH, LENGTH, SIZES, VOCABULARY, Zoo, tokens

__all__ = ["DECODER", "ENCODER", "SEQ2SEQ", "fill"]

ENCODER = {**SIZES, "max_position_embeddings": 32}
"""Fields that BERT and its kin share."""

DECODER = {
    **SIZES,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Fields that Llama and its kin share."""

SEQ2SEQ = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 32,
}
"""Fields that BART and its kin share."""

_GPT = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4}


def _detection() -> dict[str, torch.Tensor]:
    ids = torch.randint(3, VOCABULARY, (BATCH, LENGTH))
    return {"input_ids": ids, "labels": torch.randint(0, 2, (BATCH, LENGTH))}


def _unmasked() -> dict[str, torch.Tensor]:
    return tokens(mask=False)


def fill(zoo: Zoo) -> None:
    """Add them."""
    _encoders(zoo)
    _decoders(zoo)
    _experts(zoo)
    zoo.transformers(
        "t5",
        "T5",
        "ForConditionalGeneration",
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        decoder_start_token_id=0,
    )
    zoo.transformers("bart", "Bart", "ForConditionalGeneration", **SEQ2SEQ)
    small = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
    zoo.transformers("mamba", "Mamba", "ForCausalLM", _unmasked, **small, state_size=8, time_step_rank=4)
    zoo.transformers(
        "mamba2",
        "Mamba2",
        "ForCausalLM",
        _unmasked,
        **small,
        state_size=8,
        num_heads=8,
        head_dim=8,
        n_groups=2,
        chunk_size=4,
    )
    zoo.transformers("rwkv", "Rwkv", "ForCausalLM", _unmasked, **small, context_length=32)


def _encoders(zoo: Zoo) -> None:
    zoo.transformers("bert", "Bert", "ForMaskedLM", **ENCODER)
    zoo.transformers("roberta", "Roberta", "ForMaskedLM", **ENCODER)
    zoo.transformers(
        "distilbert",
        "DistilBert",
        "ForMaskedLM",
        vocab_size=VOCABULARY,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
        max_position_embeddings=32,
    )
    zoo.transformers("albert", "Albert", "ForMaskedLM", **ENCODER, embedding_size=16)
    zoo.transformers(
        "deberta-v2",
        "DebertaV2",
        "ForMaskedLM",
        **ENCODER,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
    )
    zoo.transformers("electra", "Electra", "ForPreTraining", _detection, **ENCODER, embedding_size=16)


def _decoders(zoo: Zoo) -> None:
    zoo.transformers("gpt2", "GPT2", "LMHeadModel", **_GPT, n_positions=32)
    zoo.transformers(
        "opt",
        "OPT",
        "ForCausalLM",
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        max_position_embeddings=32,
        word_embed_proj_dim=32,
    )
    zoo.transformers("gpt-neox", "GPTNeoX", "ForCausalLM", **ENCODER)
    zoo.transformers("llama", "Llama", "ForCausalLM", **DECODER)
    zoo.transformers("mistral", "Mistral", "ForCausalLM", **DECODER)
    zoo.transformers("qwen3", "Qwen3", "ForCausalLM", **DECODER, head_dim=8)
    zoo.transformers("gemma2", "Gemma2", "ForCausalLM", **DECODER, head_dim=8)
    zoo.transformers("phi3", "Phi3", "ForCausalLM", **DECODER)
    zoo.transformers("gemma3", "Gemma3", "ForCausalLM", config="Gemma3TextConfig", **DECODER, head_dim=8)
    few = {"vocab_size": VOCABULARY, "hidden_size": 32}
    zoo.transformers("falcon", "Falcon", "ForCausalLM", **few, num_hidden_layers=2, num_attention_heads=4)
    zoo.transformers("bloom", "Bloom", "ForCausalLM", **few, n_layer=2, n_head=4)


def _experts(zoo: Zoo) -> None:
    chosen = {"num_experts_per_tok": 2}
    zoo.transformers(
        "mixtral", "Mixtral", "ForCausalLM", **DECODER, **chosen, num_local_experts=4, output_router_logits=True
    )
    zoo.transformers(
        "qwen3-moe", "Qwen3Moe", "ForCausalLM", **DECODER, **chosen, head_dim=8, num_experts=4, moe_intermediate_size=16
    )
    zoo.transformers("olmoe", "Olmoe", "ForCausalLM", **DECODER, **chosen, num_experts=4)
    zoo.transformers(
        "deepseek-v3",
        "DeepseekV3",
        "ForCausalLM",
        **{**DECODER, "num_key_value_heads": 4},
        **chosen,
        moe_intermediate_size=16,
        n_routed_experts=4,
        n_group=2,
        topk_group=1,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
        first_k_dense_replace=1,
    )
