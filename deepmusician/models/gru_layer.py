"""A layer of gated recurrent units with its gradients written out, for training on a processor.

The same numbers as torch's own, which on a processor keeps a graph of every small operation and adds each frame's share
to the gradients of the weights as it comes to it. Here a frame costs one matrix product forwards and one backwards;
what the inputs say, and every gradient of a weight, is one product over all frames. Under autocast what is multiplied
is bf16, all else stays float32. Knows nothing of other layers.

    r = σ(W_ir x + b_ir + W_hr h + b_hr)       z = σ(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r (W_hn h + b_hn))            y = n + z (h - n)

Source: Cho et al., EMNLP 2014, as torch.nn.GRU has it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deepmusician.models.dropping import dropout

PAD = 16  # columns after those in use: rows a power of two apart would evict one another from the cache


def suits(network: nn.RNNBase, x: Tensor) -> bool:
    """Whether what is written here is of use: a GRU is being trained, on a processor."""
    return isinstance(network, nn.GRU) and x.device.type == "cpu" and torch.is_grad_enabled()


def run_gru(network: nn.GRU, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """`network` over `x` [T, B, inputs] on from `state`, [B, H] for each layer: y [T, B, H] and the state after."""
    after, half = [], torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", enabled=False):  # what is cast is decided here
        for layer, (before, weights) in enumerate(zip(state, network.all_weights, strict=True)):
            if layer:
                x = dropout(x, network.dropout, network.training)
            x, last = GRULayer.apply(x, before, *weights, half)
            after.append(last)
    return x, tuple(after)


class GRULayer(torch.autograd.Function):
    """x [T, B, I], h [B, H], w_ih [3H, I], w_hh [3H, H], b_ih [3H], b_hh [3H] -> y [T, B, H], the last h [B, H].

    With `half` matrix products are of bf16.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, half: bool = False
    ) -> Any:
        """See the module. A frame's gates lie side by side as n, r, z and what r lets through to n.

        So what the input says is added to the first three, and what the state says to the last three, in one go. What
        goes into n is doubled, for tanh a = 2 σ(2a) - 1 takes half tanh's time.
        """
        (frames, batch, inputs), size = x.shape, h.shape[1]
        twice = torch.cat([x.new_full((size,), 2.0), x.new_ones(2 * size)])
        b_rz, b_n = b_hh.split([2 * size, size])
        bias = twice * (b_ih.roll(size) + torch.cat([torch.zeros_like(b_n), b_rz]))
        planes = _padded(frames * batch, 4 * size, x)
        planes[:, 3 * size :] = b_n
        w_in, heard = (twice[:, None] * w_ih.roll(size, 0)).t(), planes[:, : 3 * size]
        if half:
            torch.add(_half_product(x.reshape(-1, inputs), w_in), bias, out=heard)
        else:
            torch.addmm(bias, x.reshape(-1, inputs), w_in, out=heard)
        gates = planes.unflatten(0, (frames, batch))
        ys = x.new_empty(frames + 1, batch, size)
        ys[0] = h
        w = w_hh.bfloat16().t() if half else _turned(w_hh)
        minus_one = x.new_tensor(-1.0)
        for h, y, told, rz, n, r, z, through in zip(
            ys[:-1].unbind(), ys[1:].unbind(), gates[..., size:].unbind(), gates[..., size : 3 * size].unbind(),
            *_columns(gates, size), strict=True,
        ):  # fmt: skip
            _add_product(told, h, w)
            rz.sigmoid_()
            n.addcmul_(r, through, value=2).sigmoid_()
            torch.add(minus_one, n, alpha=2, out=n)
            torch.lerp(n, h, z, out=y)
        ctx.save_for_backward(x, w_ih, w_hh, gates, ys)
        ctx.half = half
        ctx.set_materialize_grads(False)
        return ys[1:], ys[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, dlast: Tensor | None) -> tuple[Tensor | None, ...]:
        """See the module; the gradients before the gates lie as the gates do."""
        x, w_ih, w_hh, gates, ys = ctx.saved_tensors
        (frames, batch, inputs), size = x.shape, ys.shape[2]
        product = _half_product if ctx.half else torch.mm
        w = w_hh.bfloat16() if ctx.half else w_hh
        d = _padded(frames * batch, 4 * size, ys)
        by_frame = d.unflatten(0, (frames, batch))
        dh = torch.zeros_like(ys[0]) if dlast is None else dlast.clone()
        carried, new, work = ys.new_empty(3, batch, size).unbind()
        for y, dy_t, n, r, z, through, dn, dr, dz, dthrough, told in reversed(list(zip(
            ys[1:].unbind(), [None] * frames if dy is None else dy.unbind(), *_columns(gates, size),
            *_columns(by_frame, size), by_frame[..., size:].unbind(), strict=True,
        ))):  # fmt: skip
            if dy_t is not None:
                dh.add_(dy_t)
            torch.mul(dh, z, out=carried)
            torch.sub(dh, carried, out=new)  # dh (1 - z)
            torch.sub(y, n, out=work)  # z (h - n)
            torch.mul(new, work, out=dz)
            torch.mul(new, n, out=work)
            torch.addcmul(new, work, n, value=-1, out=dn)  # dh (1 - z) (1 - n²)
            torch.mul(dn, r, out=dthrough)
            torch.mul(dthrough, through, out=work)
            torch.addcmul(work, work, r, value=-1, out=dr)  # dn through r (1 - r)
            _add_product(carried, told, w)
            dh, carried = carried, dh
        once = d.bfloat16() if ctx.half else d
        heard, kept = once[:, : 3 * size], once[:, size:]
        dx = product(heard, w_ih.roll(size, 0)).to(x.dtype).view_as(x) if ctx.needs_input_grad[0] else None
        dw_ih = product(heard.t(), x.reshape(-1, inputs)).to(w_ih.dtype).roll(-size, 0)
        dw_hh = product(kept.t(), ys[:-1].flatten(0, 1)).to(w_hh.dtype)
        db = d.sum(0)
        return dx, dh, dw_ih, dw_hh, db[: 3 * size].roll(-size), db[size:], None


def _half_product(a: Tensor, b: Tensor) -> Tensor:
    """a b, of bf16."""
    return torch.mm(a.bfloat16(), b.bfloat16())


def _add_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """out += a b, of the type of b."""
    if b.dtype == out.dtype:
        out.addmm_(a, b)
    else:
        out.add_(torch.mm(a.to(b.dtype), b))


def _padded(rows: int, columns: int, like: Tensor) -> Tensor:
    """An empty matrix whose rows do not lie a power of two apart."""
    return like.new_empty(rows, columns + PAD)[:, :columns]


def _turned(w: Tensor) -> Tensor:
    """`w` transposed, its rows not a power of two apart; only a whole matrix does torch turn fast."""
    return torch.cat([w, w[:PAD]]).t().contiguous()[:, : len(w)]


def _columns(planes: Tensor, size: int) -> list[tuple[Tensor, ...]]:
    """[T, B, n · size] cut into n parts, each frame by frame."""
    return [part.unbind() for part in planes.split(size, -1)]
