"""Text models of transformers, further zoo."""

from __future__ import annotations

from typing import Any

import torch

from ..first_parts.transformers_text import DECODER, ENCODER, SEQ2SEQ
from ..registry import BATCH, LENGTH, SIZES, VOCABULARY, Zoo, tokens

__all__ = ["fill"]

_T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "decoder_start_token_id": 0,
}
_GPT = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32}
_LLAMA = (
    ("cohere", "Cohere", {}),
    ("starcoder2", "Starcoder2", {}),
    ("phi", "Phi", {}),
    ("stablelm", "StableLm", {}),
    ("granite", "Granite", {}),
    ("olmo2", "Olmo2", {}),
    ("glm", "Glm", {"head_dim": 8}),
    ("nemotron", "Nemotron", {}),
    ("qwen2", "Qwen2", {}),
    ("gemma", "Gemma", {"head_dim": 8}),
    ("persimmon", "Persimmon", {}),
    ("smollm3", "SmolLM3", {}),
    ("exaone4", "Exaone4", {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}),
    ("diffllama", "DiffLlama", {}),
    ("helium", "Helium", {"head_dim": 8}),
    ("ernie4.5", "Ernie4_5", {}),
    ("seed-oss", "SeedOss", {"head_dim": 8}),
)
_EXPERTS = (
    ("gpt-oss", "GptOss", {"head_dim": 8, "num_local_experts": 4}),
    ("qwen2-moe", "Qwen2Moe", {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}),
    ("granite-moe", "GraniteMoe", {"num_local_experts": 4}),
    ("phi-moe", "Phimoe", {"num_local_experts": 4, "rope_scaling": None}),
)


def _unmasked() -> dict[str, torch.Tensor]:
    return tokens(mask=False)


def _longer() -> dict[str, torch.Tensor]:
    return tokens(length=16)


def _pages() -> dict[str, Any]:
    corners = torch.randint(0, 400, (BATCH, LENGTH, 2))
    boxes = torch.cat([corners, corners + torch.randint(1, 400, (BATCH, LENGTH, 2))], -1)
    return {**tokens(), "bbox": boxes}


def _pads() -> dict[str, torch.Tensor]:
    batch = tokens()
    batch["attention_mask"][1, 8:] = 0
    batch["labels"][1, 8:] = -100
    return batch


def fill(zoo: Zoo) -> None:
    """Add them."""
    _encoders(zoo)
    _seq2seq(zoo)
    for name, family, more in _LLAMA:
        zoo.transformers(name, family, "ForCausalLM", **{**DECODER, **more})
    for name, family, more in _EXPERTS:
        zoo.transformers(name, family, "ForCausalLM", **DECODER, num_experts_per_tok=2, **more)
    zoo.transformers("llama-padded", "Llama", "ForCausalLM", _pads, **DECODER)
    _gpt(zoo)
    _state_spaces(zoo)


def _encoders(zoo: Zoo) -> None:
    zoo.transformers(
        "xlnet", "XLNet", "LMHeadModel", vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=64
    )
    zoo.transformers("longformer", "Longformer", "ForMaskedLM", _longer, **ENCODER, attention_window=[4, 4])
    sparse = {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1}
    zoo.transformers(
        "big-bird",
        "BigBird",
        "ForMaskedLM",
        lambda: tokens(length=48),
        **{**ENCODER, **sparse, "max_position_embeddings": 64},
    )
    zoo.transformers(
        "funnel",
        "Funnel",
        "ForMaskedLM",
        _longer,
        vocab_size=VOCABULARY,
        block_sizes=[1, 1],
        num_decoder_layers=1,
        d_model=32,
        n_head=4,
        d_head=8,
        d_inner=64,
    )
    landmarks = {**ENCODER, "num_landmarks": 4, "segment_means_seq_len": 16}
    zoo.transformers("nystromformer", "Nystromformer", "ForMaskedLM", _longer, **landmarks)
    zoo.transformers(
        "nystromformer-unmasked", "Nystromformer", "ForMaskedLM", lambda: tokens(mask=False, length=16), **landmarks
    )
    zoo.transformers("fnet", "FNet", "ForMaskedLM", _unmasked, **ENCODER)
    for name, family in (
        ("mpnet", "MPNet"),
        ("camembert", "Camembert"),
        ("xlm-roberta", "XLMRoberta"),
        ("ernie", "Ernie"),
        ("roformer", "RoFormer"),
        ("ibert", "IBert"),
        ("megatron-bert", "MegatronBert"),
        ("rembert", "RemBert"),
        ("esm", "Esm"),
    ):
        more = {"input_embedding_size": 16, "output_embedding_size": 16} if name == "rembert" else {}
        if name == "esm":
            more = {"pad_token_id": 1, "mask_token_id": 2}
        zoo.transformers(name, family, "ForMaskedLM", **ENCODER, **more)
    zoo.transformers(
        "deberta", "Deberta", "ForMaskedLM", **ENCODER, relative_attention=True, pos_att_type=["p2c", "c2p"]
    )
    zoo.transformers("convbert", "ConvBert", "ForMaskedLM", **ENCODER, embedding_size=32, conv_kernel_size=3)
    zoo.transformers("squeezebert", "SqueezeBert", "ForMaskedLM", **ENCODER, embedding_size=32)
    zoo.transformers(
        "mobilebert",
        "MobileBert",
        "ForMaskedLM",
        **ENCODER,
        embedding_size=16,
        intra_bottleneck_size=16,
        true_hidden_size=16,
    )
    zoo.transformers(
        "modernbert",
        "ModernBert",
        "ForMaskedLM",
        **ENCODER,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    )
    zoo.transformers("layoutlm", "LayoutLM", "ForMaskedLM", _pages, **ENCODER)
    zoo.transformers(
        "lilt",
        "Lilt",
        "ForTokenClassification",
        lambda: {**_pages(), "labels": torch.randint(0, 2, (BATCH, LENGTH))},
        **{**ENCODER, "hidden_size": 48},
    )
    zoo.transformers("yoso", "Yoso", "ForMaskedLM", **ENCODER, use_expectation=True)


def _seq2seq(zoo: Zoo) -> None:
    head = "ForConditionalGeneration"
    gated = {"feed_forward_proj": "gated-gelu"}
    zoo.transformers("mt5", "MT5", head, **_T5, **gated)
    zoo.transformers("umt5", "UMT5", head, **_T5, **gated)
    zoo.transformers("t5-gated", "T5", head, **_T5, **gated, tie_word_embeddings=False)
    zoo.transformers("longt5", "LongT5", head, _longer, **_T5, local_radius=3, encoder_attention_type="local")
    zoo.transformers(
        "switch",
        "SwitchTransformers",
        head,
        **_T5,
        num_experts=4,
        num_sparse_encoder_layers=1,
        num_sparse_decoder_layers=1,
    )
    for name, family in (
        ("blenderbot", "Blenderbot"),
        ("pegasus", "Pegasus"),
        ("m2m100", "M2M100"),
        ("mbart", "MBart"),
        ("plbart", "PLBart"),
    ):
        zoo.transformers(name, family, head, **SEQ2SEQ)
    zoo.transformers("marian", "Marian", "MTModel", **SEQ2SEQ, pad_token_id=0, decoder_start_token_id=0, eos_token_id=0)
    led = {k: v for k, v in SEQ2SEQ.items() if k != "max_position_embeddings"}
    zoo.transformers(
        "led",
        "LED",
        head,
        _longer,
        **led,
        attention_window=4,
        max_encoder_position_embeddings=32,
        max_decoder_position_embeddings=32,
    )
    zoo.transformers(
        "prophetnet",
        "ProphetNet",
        head,
        _unmasked,
        vocab_size=VOCABULARY,
        hidden_size=32,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_encoder_attention_heads=4,
        num_decoder_attention_heads=4,
        max_position_embeddings=32,
    )


def _gpt(zoo: Zoo) -> None:
    zoo.transformers("gptj", "GPTJ", "ForCausalLM", **_GPT, rotary_dim=4)
    zoo.transformers("gpt-bigcode", "GPTBigCode", "ForCausalLM", **_GPT)
    zoo.transformers("codegen", "CodeGen", "ForCausalLM", **_GPT, rotary_dim=4)
    zoo.transformers(
        "gpt-neo",
        "GPTNeo",
        "ForCausalLM",
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=4,
        max_position_embeddings=32,
    )
    zoo.transformers(
        "mpt", "Mpt", "ForCausalLM", vocab_size=VOCABULARY, d_model=32, n_layers=2, n_heads=4, max_seq_len=32
    )
    zoo.transformers("biogpt", "BioGpt", "ForCausalLM", **ENCODER)
    zoo.transformers(
        "xglm",
        "XGLM",
        "ForCausalLM",
        vocab_size=VOCABULARY,
        d_model=32,
        num_layers=2,
        attention_heads=4,
        ffn_dim=64,
        max_position_embeddings=32,
    )
    zoo.transformers(
        "ctrl", "CTRL", "LMHeadModel", vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, dff=64, n_positions=32
    )
    zoo.transformers("openai-gpt", "OpenAIGPT", "LMHeadModel", config="OpenAIGPTConfig", **_GPT)


def _state_spaces(zoo: Zoo) -> None:
    small = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
    mamba = {"mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2}
    zoo.transformers(
        "jamba",
        "Jamba",
        "ForCausalLM",
        **DECODER,
        **mamba,
        mamba_dt_rank=4,
        use_mamba_kernels=False,
        num_experts=2,
        attn_layer_period=2,
        attn_layer_offset=1,
    )
    zoo.transformers(
        "bamba",
        "Bamba",
        "ForCausalLM",
        **DECODER,
        **mamba,
        mamba_n_heads=8,
        mamba_d_head=8,
        mamba_n_groups=1,
        mamba_chunk_size=4,
        attn_layer_indices=[1],
    )
    zoo.transformers("falcon-mamba", "FalconMamba", "ForCausalLM", _unmasked, **small, state_size=8, time_step_rank=4)
    zoo.transformers(
        "recurrent-gemma",
        "RecurrentGemma",
        "ForCausalLM",
        **{**SIZES, "num_hidden_layers": 3},
        num_key_value_heads=1,
        lru_width=32,
        attention_window_size=8,
        pad_token_id=0,
    )
    zoo.transformers(
        "zamba2",
        "Zamba2",
        "ForCausalLM",
        **DECODER,
        mamba_d_state=8,
        mamba_ngroups=1,
        n_mamba_heads=8,
        chunk_size=4,
        use_mem_rope=True,
        layers_block_type=["mamba", "hybrid"],
        use_mamba_kernels=False,
        adapter_rank=4,
    )
    zoo.transformers("lfm2", "Lfm2", "ForCausalLM", **DECODER, layer_types=["conv", "full_attention"])
    zoo.transformers("xlstm", "xLSTM", "ForCausalLM", _longer, **small, num_heads=4, chunk_size=8, config="xLSTMConfig")
