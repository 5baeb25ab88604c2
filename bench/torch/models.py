"""The benchmarks' models in PyTorch: the same sizes, initial scales and losses as bench/models."""
import math

import torch
from torch import nn
from torch.nn import functional as F

FUSED_ATTENTION = hasattr(F, "scaled_dot_product_attention")


class LayerNorm(nn.LayerNorm):
    """In float32, as Merak's: PyTorch 1.13's autocast hands it bfloat16 with float32 weights, which it refuses."""

    def forward(self, x):
        return super().forward(x.float())


class SelfAttention(nn.Module):
    def __init__(self, size, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(size, 3 * size)
        self.projection = nn.Linear(size, size)

    def forward(self, x):
        batch, length, size = x.shape
        parts = self.qkv(x).split(size, dim=-1)
        q, k, v = (part.view(batch, length, self.heads, size // self.heads).transpose(1, 2) for part in parts)
        if FUSED_ATTENTION:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(size // self.heads)
            if self.causal:
                future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
                scores = scores.masked_fill(future, float("-inf"))
            y = scores.softmax(-1) @ v
        return self.projection(y.transpose(1, 2).reshape(batch, length, size))


class Block(nn.Module):
    def __init__(self, size, heads, causal, approximate):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(size), LayerNorm(size)
        self.attention = SelfAttention(size, heads, causal)
        self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(approximate), nn.Linear(4 * size, size))
        self.pre = causal

    def forward(self, x):
        if self.pre:
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.mlp(x))


def small_weights(module):
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class Gpt(nn.Module):
    """Pre-norm blocks, learned positions, head tied to the token table."""

    def __init__(self, job):
        super().__init__()
        size = job["hiddenSize"]
        self.tokens = nn.Embedding(job["vocabularySize"], size)
        self.positions = nn.Parameter(torch.randn(job["contextLength"], size) * 0.02)
        self.blocks = nn.ModuleList(Block(size, job["numHeads"], True, "tanh") for _ in range(job["numLayers"]))
        self.norm = LayerNorm(size)
        self.apply(small_weights)

    def loss(self, tokens, targets):
        x = self.tokens(tokens) + self.positions
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


class Bert(nn.Module):
    """Post-norm blocks, masked-language-model head tied to the token table."""

    def __init__(self, job):
        super().__init__()
        size = job["hiddenSize"]
        self.tokens = nn.Embedding(job["vocabularySize"], size)
        self.segments = nn.Parameter(torch.randn(2, size) * 0.02)
        self.positions = nn.Parameter(torch.randn(job["contextLength"], size) * 0.02)
        self.norm = LayerNorm(size, eps=1e-12)
        self.blocks = nn.ModuleList(Block(size, job["numHeads"], False, "none") for _ in range(job["numLayers"]))
        self.transform, self.head_norm = nn.Linear(size, size), LayerNorm(size, eps=1e-12)
        self.head_bias = nn.Parameter(torch.zeros(job["vocabularySize"]))
        self.apply(small_weights)

    def loss(self, tokens, labels):
        x = self.norm(self.tokens(tokens) + self.segments[0] + self.positions)
        for block in self.blocks:
            x = block(x)
        x = self.head_norm(F.gelu(self.transform(x)))
        logits = F.linear(x, self.tokens.weight, self.head_bias)
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-1)


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return F.relu(self.main(x) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, job):
        super().__init__()
        layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        inputs = 16
        for stage, outputs in enumerate([16, 32, 64]):
            for block in range(job["blocksPerStage"]):
                layers.append(ResidualBlock(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
                inputs = outputs
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(64, job["numClasses"])

    def loss(self, images, labels):
        return F.cross_entropy(self.head(self.body(images).mean((2, 3))).float(), labels)


class Lstm(nn.Module):
    """Predicts what follows from the last hidden state."""

    def __init__(self, job):
        super().__init__()
        self.embedding = nn.Embedding(job["vocabularySize"], job["embeddingSize"])
        self.lstm = nn.LSTM(job["embeddingSize"], job["hiddenSize"], batch_first=True)
        self.head = nn.Linear(job["hiddenSize"], job["vocabularySize"])

    def loss(self, tokens, labels):
        hidden, _ = self.lstm(self.embedding(tokens))
        return F.cross_entropy(self.head(hidden[:, -1]).float(), labels)


def batch_of(job, size, step):
    """Noise of the shapes that the model takes: what it takes does not depend on the values."""
    generator = torch.Generator().manual_seed(step)

    def integers(high, *shape):
        return torch.randint(high, shape, generator=generator)

    if job["model"] == "resnet":
        return torch.rand(size, 3, 32, 32, generator=generator) - 0.5, integers(job["numClasses"], size)
    tokens = integers(256, size, job["contextLength"])
    if job["model"] == "lstm":
        return tokens, integers(256, size)
    targets = integers(256, size, job["contextLength"])
    if job["model"] == "bert":
        unmasked = integers(7, size, job["contextLength"]) > 0
        return tokens.masked_fill(~unmasked, 103), targets.masked_fill(unmasked, -1)
    return tokens, targets


MODELS = {"gpt": Gpt, "bert": Bert, "resnet": ResNet, "lstm": Lstm}
