"""Rows of functions of tensors, as functions, methods and operators.

Sets of inputs are left out where batten means to differ (test_parity.py lists how), and gradients
of NaN where the libraries agree that there is none but not on how to write that.
"""

from __future__ import annotations

from . import Row, rows

UNARY = [
    "abs",
    "neg",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "rsqrt",
    "square",
    "reciprocal",
    "sign",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "erf",
    "relu",
]
LEFT_OUT = {"square": "bool", "sign": "bool"}

ELEMENTWISE = [
    Row(f"{form}  # not: {LEFT_OUT.get(name, '')}")
    for name in UNARY
    for form in (f"t.{name}(x)", f"z = x.clone(); z.{name}_(); z")
]

ELEMENTWISE += rows("""
-x
abs(x)
~x
x.exp().log1p()
t.exp(input=x)
t.isnan(x)
t.isinf(x)
t.isfinite(x)
t.logical_not(x)
t.bitwise_not(x)
x.clamp(-1, 1)
x.clamp(0)
x.clamp(min=1)
x.clamp(max=1)
x.clamp(min=-0.5, max=0.5)
x.clamp(0.5)
x.clamp(min=None, max=2.5)
x.clamp(max=300)
t.clamp(x, 0, 2)
t.clip(x, 0, 2)
x.clip(1, -1)
x.clamp()
x.clamp(None, None)
z = x.clone(); z.clamp_(0, 1); z
z = x.clone(); z.clamp_(min=0); z
z = x.clone(); z.clip_(max=1); z
""")

ARITHMETIC = rows("""
t.add(x, y)
t.sub(x, y)  # not: bool True
t.mul(x, y)
t.div(x, y)
t.floor_divide(x, y)  # not: float32 float64 2.5 inf
t.remainder(x, y)  # not: reversed
t.pow(x, y)  # not: int64 int32 bool True
t.maximum(x, y)
t.minimum(x, y)
x.add(y)
x.mul(y)
x + y
x - y  # not: bool True
x * y
x / y
x // y  # not: float32 float64 2.5 inf
x % y  # not: reversed
x ** y  # not: int64 int32 bool True
x.double() ** y  # not: bool True
abs(x) ** y  # not: int64 int32 bool True
z = x.clone(); z += y; z
z = x.clone(); z -= y; z  # not: bool True
z = x.clone(); z *= y; z
z = x.clone(); z /= y; z
z = x.clone(); z //= y; z  # not: float32 float64 2.5 inf
z = x.clone(); z %= y; z
z = x.clone(); z **= y; z  # not: int64 int32 bool True
z = x.clone(); z.add_(y); z
z = x.clone(); z.sub_(y); z  # not: bool True
z = x.clone(); z.mul_(y); z
z = x.clone(); z.div_(y); z
z = x.clone(); z.floor_divide_(y); z  # not: float32 float64 2.5 inf
z = x.clone(); z.remainder_(y); z
z = x.clone(); z.pow_(y); z  # not: int64 int32 bool True
t.add(x, y, alpha=2)
t.add(x, y, alpha=0.1)
x.add(y, alpha=-1)
t.sub(x, y, alpha=3)  # not: bool True
z = x.clone(); z.add_(y, alpha=2); z
z = x.clone(); z.sub_(y, alpha=2); z  # not: bool True
t.add(input=x, other=y)
t.mul(x, other=y)
t.result_type(x, y)
t.clamp(x, y)  # not: special reversed True
t.clamp(x, max=y)  # not: special reversed True
t.clamp(x, y - 1, y)  # not: special number reversed bool uint8 int8
t.clamp(x, min=y, max=y.float() + 1)  # not: special number reversed
z = x.clone(); z.clamp_(y); z  # not: special True
z = x.clone(); z.clamp_(max=y); z  # not: special True
t.max(x, y)  # not: reversed True
t.min(x, y)  # not: reversed True
x.max(other=y)  # not: number
t.where(x > y, x, y)
t.where(x == y, x * y, y)
t.where(x == y)
""")

COMPARISONS = rows("""
t.eq(x, y)  # not: reversed
t.ne(x, y)  # not: reversed
t.lt(x, y)  # not: reversed
t.le(x, y)  # not: reversed
t.gt(x, y)  # not: reversed
t.ge(x, y)  # not: reversed
x == y
x != y
x < y
x <= y
x > y
x >= y
t.logical_and(x, y)
t.logical_or(x, y)
x.logical_and(y)
t.bitwise_and(x, y)
t.bitwise_or(x, y)
t.bitwise_xor(x, y)
x & y
x | y
x ^ y
t.allclose(x, x)
t.allclose(x, x, equal_nan=True)
t.allclose(x.double(), x.double() + 1e-6)
x.double().allclose(x * 1.1, rtol=0.2)  # not: float32 int64 uint8 bool int8 int16 int32
t.allclose(x.float(), x.float() + 1, atol=2)
t.equal(x, x)
t.equal(x, y)
x.equal(x + 1)
t.all(x)
t.all(x, 0)
x.all(dim=-1)
x.all(dim=1, keepdim=True)
x.all(axis=0)
x.all(dim=(0, 1))
x.all(dim=2)
t.any(x)
t.any(x, 0)
x.any(dim=-1)
x.any(axis=-1, keepdims=True)
x.any(dim=[0, -1], keepdim=True)
x.any(dim=None)
x.any(dim=-3)
2 in x
100 in x
""")


def over_axes(name: str, several: bool = True, all_axes: bool = True, leave_out: str = "") -> list[Row]:
    """Calls of a function that takes an axis, or several, or none."""
    calls = ["t.{}(x, 0)", "t.{}(x, dim=1)", "x.{}(dim=-1)", "x.{}(axis=0)", "x.{}(2)", "x.{}(dim=-3)", "x.{}('a')"]
    calls += ["x.{}(dim=1.5)"]
    if name not in ("softmax", "log_softmax", "cumsum"):
        calls += ["x.{}(1, keepdim=True)", "x.{}(axis=-1, keepdims=True)", "x.{}(dim=0, keepdims=True)"]
    if several:
        calls += ["x.{}(dim=(0, 1))", "x.{}((0, -1), keepdim=True)", "x.{}(dim=[1])", "x.{}(dim=(0, 0))"]
        calls += ["x.{}(dim=(0, 3))"]
    if all_axes:
        calls += ["t.{}(x)", "x.{}()"]
    return [Row(f"{call.format(name)}  # not: {leave_out}") for call in calls]


REDUCTIONS = [
    *over_axes("sum"),
    *over_axes("mean"),
    *over_axes("var"),
    *over_axes("std"),
    *over_axes("amax", leave_out="special empty"),
    *over_axes("amin", leave_out="special empty"),
    *over_axes("max", several=False),
    *over_axes("min", several=False),
    *over_axes("argmax", several=False, leave_out="bool"),
    *over_axes("argmin", several=False, leave_out="bool"),
    *over_axes("prod", several=False, leave_out="special"),
    *over_axes("cumsum", several=False, all_axes=False),
    *over_axes("logsumexp", all_axes=False),
    *over_axes("softmax", several=False, all_axes=False, leave_out="empty"),
    *over_axes("log_softmax", several=False, all_axes=False, leave_out="empty"),
]
REDUCTIONS += rows("""
x.sum(dim=())
x.sum(dim=None)
x.mean(dim=None)
x.amax(dim=())  # not: special
x.amax(0)  # not: special
x.sum(dim=0, dtype=t.float64)
x.sum(dtype=t.float32)
x.detach().sum(dtype=t.int64)  # not: special
x.mean(dtype=t.float64)
x.prod(1, dtype=t.float64)  # not: special
x.cumsum(0, dtype=t.float64)
x.cumsum(dim=-1, dtype=t.float32)
t.softmax(x, -1, dtype=t.float64)
x.log_softmax(0, dtype=t.float32)
t.softmax(x)
t.cumsum(x)
x.var(unbiased=False)
x.var(1, unbiased=False)
x.var(False)
x.var(0, False)
x.var(0, True, True)
x.var(correction=0)
x.var(dim=1, correction=2)
x.std(unbiased=False)
x.std(0, False)
x.std(correction=3, dim=1, keepdim=True)
x.std(dim=0, unbiased=True, keepdim=True)
t.std(x, correction=0)
t.norm(x)
x.norm()
x.norm(2, 0)
x.norm(1)
x.norm(p=3, dim=1)
x.norm(float('inf'))
x.norm(-float('inf'))
x.norm(float('inf'), dim=0)
x.norm('fro')
x.norm(p='fro', dim=1)
x.norm(2, (0, 1))
x.norm(1, [0, 1], True)
x.norm(1.5)  # not: special
x.norm(dim=2)
x.detach().norm(0)
t.norm(x, p=2, dim=0, keepdim=True)
t.norm(x, dtype=t.float64)  # not: int64 uint8 bool int8 int16 int32
x.max(1).values
x.max(1)[1]
x.min(dim=0, keepdim=True).indices
v, i = x.min(1); v
t.argmax(x, keepdim=True)  # not: bool
t.amax(x, (0, 1))  # not: special empty
""")

SHAPES = rows("""
x.reshape(4, 3)
x.reshape((4, 3))
x.reshape(-1)
x.reshape(-1, 2)
x.reshape([2, -1])
x.reshape(5, -1)
x.reshape(-1, -1)
x.reshape(0, -1)
x.reshape(2, 5)
x.reshape(())
x.reshape(t.tensor(2), -1)
t.reshape(x, (-1, 1))
t.reshape(x, shape=(-1,))
x.reshape(1.5, -1)
x.view(-1)  # not: transposed expanded
x.view(4, 3)  # not: transposed expanded
x.view((12,))  # not: transposed expanded
x.T.contiguous().view(-1)
x.flatten()
t.flatten(x, 1)
t.flatten(x, start_dim=0, end_dim=1)
x.flatten(1, 0)
x.flatten(5)
x.unflatten(0, (3, 1))
x.unflatten(1, (2, -1))
x.unflatten(dim=-1, sizes=(2, 2))
t.unflatten(x, 0, (-1, 2))
x.unflatten(0, [5])
x.transpose(0, 1)
t.transpose(x, 0, -1)
x.transpose(dim0=-2, dim1=-1)
x.transpose(0, 3)
x.permute(1, 0)
x.permute((1, 0))
t.permute(x, (0, 1))
t.permute(x, dims=(-1, 0))
x.permute(0, 0)
x.permute(0, 5)
x.permute(0)
x.T
x.mT  # not: 0-d
x.squeeze()
t.squeeze(x[:1])
x.unsqueeze(0).squeeze(0)
x.squeeze(0)
x.squeeze(dim=1)
x.squeeze((0, 1))
x.unsqueeze(1).unsqueeze(0).squeeze((0, 2))
x.squeeze(4)
x.squeeze(())
x.squeeze(axis=0)
x.unsqueeze(0)
x.unsqueeze(-1)
t.unsqueeze(x, dim=1)
x.unsqueeze(2)
x.unsqueeze(-4)
x.unsqueeze(1.5)
x.unsqueeze(axis=-1)
x.expand(2, 3, 4)
x.expand(-1, -1)
x.expand((3, 4))
x.expand(size=(2, 3, 4))
x.unsqueeze(0).expand(5, *x.shape)
x.expand(-1, 3, 4)
x.expand(2, -1)
x.expand(3, 5)
x.expand(4)
x[:1].expand(6, 4)
t.broadcast_to(x, (2, 3, 4))
x.broadcast_to((3, 4))
x.broadcast_to((3, -1))
x.clone()
t.clone(x)
x.contiguous()
x.T.contiguous()
x.flip(0)
x.flip(0, 1)
x.flip((0, -1))
t.flip(x, (0,))
t.flip(x, dims=(0, 1))
x.flip(3)
x.flip(0, 0)
x.flip(())
x.roll(1)
x.roll(-2, 0)
x.roll((1, 2), (0, 1))
t.roll(x, shifts=1, dims=1)
t.roll(x, (1, 1), dims=(0, 0))
x.roll(5, 1)
x.roll((1, 2))
x.roll(1, 4)  # not: empty
x.roll((1,), (0, 1))
x.split(2)
x.split(2, 1)
x.split([1, 2])
x.split([1, 3], dim=-1)
t.split(x, split_size_or_sections=3, dim=1)
x.split(0)
x.split(-1)
x.split([1, 1])
x.split(100)
x.split(2, 5)
x.split([0, 3, 0])
x.chunk(2)
x.chunk(3, 1)
t.chunk(x, 5, dim=1)
t.chunk(x, chunks=4)
x.chunk(2, axis=0)
x.chunk(0)
x.chunk(2, 3)
x.unbind()
x.unbind(1)
t.unbind(x, dim=-1)
x.unbind(axis=0)
x.unbind(2)
[*x]
[row.shape for row in x]
t.cat([x, x])
t.cat([x, x, x], 1)
t.cat((x, x), dim=-1)
t.cat([x, x], axis=1)
t.cat([])
t.cat([x, t.zeros(0)])
t.cat([x, t.zeros(0), x], 1)
t.cat([t.zeros(0), t.zeros(0)])
t.cat([x, x], 2)
t.cat([x[:1], x, x[:0]])
t.cat([x, x.double()])
t.cat([x, x.long()])  # not: special
t.stack([x, x])
t.stack([x, x], 1)
t.stack((x, x, x), dim=-1)
t.stack([])
t.stack([x, x[0:1]])
t.stack([x, x], 4)
t.stack([x, x.double()])
t.cat([x, y])  # not: number reversed
t.cat([x, y], 1)  # not: number reversed
t.stack([x, y])  # not: number reversed
t.stack((x, y), dim=-1)  # not: number reversed
""")

MATRICES = rows("""
t.matmul(x, y)  # not: bool number reversed
x @ y  # not: bool number reversed
x.matmul(y.T)  # not: bool number reversed
x @ y.mT  # not: bool number reversed
t.mm(x, y)  # not: bool
t.bmm(x, y)  # not: bool
t.mv(x, y)  # not: bool left0d both0d
t.dot(x, y)  # not: bool
t.outer(x, y)
x.mm(y)  # not: bool number
x[0].dot(x[0])  # not: bool
x[0].outer(x[:, 0])
x @ x.T  # not: bool
x.T @ x  # not: bool
x @ x
x @ x[0]  # not: bool
x[:, 0] @ x  # not: bool
x.mv(x[0])  # not: bool
x[None].bmm(x.T[None])  # not: bool
t.matmul(x[None, None], x.T)  # not: bool
t.mm(x, x.T.double())  # not: bool
t.einsum('ij->ji', x)
t.einsum('ij->', x)
t.einsum('ij,ij->i', x, x)  # not: bool
t.einsum('ij,kj->ik', x, x)  # not: bool
t.einsum('...j->...', x)
t.einsum('i...->...', x)
t.einsum('ij', x)
t.einsum('ji', x)
t.einsum('ij,jk', x, x.T)  # not: bool
t.einsum('ij,jk->ik', x, x)
t.einsum('i,j->ij', x[:, 0], x[0])
t.einsum('ij->k', x)
t.einsum('ij->ii', x)
t.einsum('i,i', x[:, 0], x[:, 0])  # not: bool
t.einsum('ii->i', x[:, :3]).clone()
t.einsum('ii', x[:, :3])
t.einsum('ii', x[:1, :3])
t.einsum('iji->j', x[:, :, None].expand(-1, -1, x.shape[0]))
t.einsum('i,ij->', x[:1, 0], x)
t.einsum('...i,...i', x, x[0])  # not: bool
t.einsum('bij,bjk->bik', x[None], x.T[None])  # not: bool
t.einsum('ij,kl,jm->im', x, x, x.T)  # not: bool uint8 int8 int16 int32
t.einsum('ij', x, x)
t.einsum('1j->j', x)
t.einsum('ij,j->i', [x, x[0]])  # not: bool
t.einsum(' i j -> j ', x)
t.einsum('ij,jk->ik', x, y)  # not: bool number reversed
t.einsum('...ij,...jk->...ik', x, y)  # not: bool number reversed
""")

PARTS = rows("""
x[0]
x[-1]
x[3]
x[-5]
x[0, 0]
x[0, -1]
x[0, 4]
x[0, 0, 0]
x[0, 0, 0, 0]
x[:]
x[1:]
x[:2]
x[::2]
x[1:100]
x[5:2]
x[-2:]
x[:, 1]
x[:, 1:3]
x[..., 0]
x[0, ...]
x[...]
x[None]
x[:, None]
x[None, ..., None]
x[..., None, 0]
x[[0, 2]]
x[[True, False, True]]
x[t.tensor([0, 2])]
x[t.tensor([[0, 1], [2, 0]])]
x[t.tensor(1)]
x[t.tensor(1), 0]
x[t.tensor([0, 1]), t.tensor([1, 2])]
x[[0, 1], [1, 2]]
x[[0, 1], :]
x[:, [0, 1]]
x[:, t.tensor([[0], [1]])]
x[0, [0, 1]]
x[[0, 1], 0]
x[[0, 1], None]
x[[0], :, None]
x[[0, 1], ..., 0]
x[0, :, [0, 1]]
x[[0, 1], :, 0]
x[0, None, [0, 1]]
x[[0, 1], None, :, 0]
x[[0, 1], :, [0, 1]]
x[:, 0, [0, 1]]
x[x > 0]
x[x > 100]
x[(x > 0) & (x < 2)]
x[t.tensor([True, False, True])]
x[t.tensor([True, False, True]), 1]
x[t.tensor([True, False])]
x[:, t.tensor([True, False, True, True])]
x[True]
x[False]
x[None, True]
x[t.tensor(True)]
x[t.tensor([], dtype=t.int64)]
x[[]]
x[t.tensor([0.5])]
x[1.0]
x[(0, 1)]
x[slice(0, 2)]
x[np.array([0, 1])]
x[np.int64(1)]
x[range(2)]
x[t.tensor([0, 7])]
x[t.tensor([0, -1])]
x[t.tensor([0, 1], dtype=t.int32)]
x[0][1:]
x[1:][0]
x[..., 1:, 0]
x[1:, 1:].T[0]
x.gather(0, t.tensor([[0, 1, 2, 0]]))
x.gather(1, t.tensor([[0, 3], [1, 1], [2, 2]]))
t.gather(x, dim=-1, index=t.tensor([[3], [0]]))
x.gather(1, t.tensor([[0, 4]]))
x.gather(1, t.tensor([[-1]]))
x.gather(0, t.tensor([[0.5]]))
x.gather(0, t.tensor([[0, 0, 0, 0, 0]]))
x.gather(0, t.zeros(0, 4, dtype=t.int64))  # not: 0-d vector 3-d
x.gather(0, t.tensor([[0]], dtype=t.int32))
x.gather(3, t.tensor([[0]]))
x.index_select(0, t.tensor([0, 2, 2]))
x.index_select(1, t.tensor([3, 0]))
t.index_select(x, dim=-1, index=t.tensor([1], dtype=t.int32))
x.index_select(0, t.tensor([3]))
x.index_select(0, t.tensor([-1]))
x.index_select(0, t.tensor([[0]]))
x.index_select(0, t.tensor(1))
x.index_select(0, t.tensor([1.0]))
x.index_select(0, t.tensor([], dtype=t.int64))
x.index_select(2, t.tensor([0]))
x.masked_fill(x > 0, 0)
x.masked_fill(x > 0, -float('inf'))
t.masked_fill(x, x == x, 2.5)
x.masked_fill(mask=x > 1, value=1)
x.masked_fill(x, 0)
x.masked_fill(t.tensor([True, False, True, False]), 3)
x.masked_fill(t.tensor([True, False]), 3)
x.masked_fill(x > 0, t.tensor(2))
x.masked_fill(x > 0, t.tensor([2]))
z = x.clone(); z.masked_fill_(z > 0, 1); z
x.masked_fill(x > 0, y)  # not: reversed int64 bool
x.tril()
x.triu()
t.tril(x, 1)
t.triu(x, diagonal=-1)
x.tril(diagonal=5)
x.triu(-10)
x.where(x > 0, 0)
t.where(x > 0, x, 0.5)
t.where(x > 0, 1, 0)
t.where(x > 0, 1.5, x)
t.where(x > 0)
t.where(x)
t.where(t.tensor([True, False, True, False]), x, 0)
z = x.clone(); z.zero_(); z
z = x.clone(); z.fill_(2); z
z = x.clone(); z.fill_(2.5); z
z = x.clone(); z.fill_(300); z
z = x.clone(); z.fill_(-1); z
z = x.clone(); z.fill_(float('nan')); z
z = x.clone(); z.fill_(t.tensor(3)); z
z = x.clone(); z.fill_(t.tensor([3])); z
z = x.clone(); z.copy_(t.tensor([1, 2, 3, 4])); z
z = x.clone(); z.copy_(t.zeros(5)); z
z = x.clone(); z.copy_(2); z
z = x.clone(); z.copy_(y); z  # not: reversed number
z = x.detach().clone(); z[0] = 1; z
z = x.detach().clone(); z[:, 1] = t.tensor([1, 2, 3]); z
z = x.detach().clone(); z[z > 0] = 0; z
z = x.detach().clone(); z[z > 0] = z[z > 0] * 2; z  # not: bool
z = x.detach().clone(); z[[0, 2], [1, 3]] = 1; z
z = x.detach().clone(); z[...] = 5; z
z = x.detach().clone(); z[0] = t.zeros(7); z
z = x.detach().clone(); z[9] = 0; z
z = x.detach().clone(); z[1:, ::2] += 1; z
z = x.detach().clone(); z[0] += z[1]; z
z = x.detach().clone(); z[0] = 300; z
z = x.detach().clone(); z[0] = float('inf'); z
z = t.zeros(2, 2); z[0], z[1] = 1, 2; z
z = t.zeros(4); z[1:3] = t.tensor([1, 2]); z
z = t.zeros(2, 3); z[:, [0, 2]] = t.tensor([[1.0], [2.0]]); z
z = t.zeros(2, 3); z[t.tensor([True, False])] = 1; z
z = t.zeros(2, 3); z[t.tensor([True, False]), 1] = 4; z
z = t.zeros(2, 3); z[z == 0] = t.arange(6.0); z
z = t.zeros(2, 3); z[None, 0] = 3; z
z = t.zeros(2, 3); z[..., 1] = t.tensor([1, 2]); z
z = t.zeros(2, 3, dtype=t.int64); z[0] = 2.7; z
z = t.zeros(2, 3, dtype=t.int64); z[0] = t.tensor([1.5, 2.5, 3.5]); z
z = t.zeros(2, 3); z[0, 0] = t.tensor([1.0]); z
z = t.zeros(2, 3); z[0] = t.ones(2); z
z = t.zeros(3); z[5] = 1; z
z = t.zeros(3); z[True] = 1; z
z = t.zeros(3); z[False] = 1; z
z = t.zeros(()); z[...] = 3; z
z = t.zeros(()); z[()] = 3; z
z = t.zeros(3); z[:] = t.ones(1); z
z = t.zeros(3); z[:] = t.ones(1, 3); z
z = t.zeros(3); z[t.tensor([2, 0])] += 1; z
z = t.zeros(3, requires_grad=True); z[0] = 1; z
z = t.ones(2); w = z[:1]; w += 1; z
z = t.ones(2, 2); z.T[0] = 5; z
z = t.ones(2, 3); z.view(-1)[0] = 7; z
z = t.ones(2, 3); z.reshape(3, 2)[0, 0] = 7; z
""")

ATTRIBUTES = rows("""
x.shape == tuple(x.shape)
tuple(x.shape)
x.size()
x.size(0)
x.size(-1)
x.size(dim=1)
x.dim()
x.ndim
x.numel()
x.element_size()
x.itemsize
x.stride()
x.stride(0)
x.is_contiguous()
x.T.is_contiguous()
x.is_contiguous(memory_format=t.channels_last)
x.contiguous(memory_format=t.contiguous_format)
x.contiguous(memory_format=t.channels_last)
x.clone(memory_format=t.preserve_format)
x.clone(memory_format=t.contiguous_format).is_contiguous()
x.clone(memory_format=t.channels_last_3d)
x.to(memory_format=t.preserve_format)
x.to(memory_format=t.channels_last)
isinstance(t.channels_last, t.memory_format)
t.ones(2, 3, 4, 5).contiguous(memory_format=t.channels_last).stride()
t.ones(2, 3, 4, 5, 6).contiguous(memory_format=t.channels_last_3d).stride()
t.ones(2, 3, 4, 5, 6).contiguous(memory_format=t.channels_last)
t.ones(2, 3, 4, 5).contiguous(memory_format=t.channels_last).contiguous().stride()
t.ones(2, 3, 4, 5).contiguous(memory_format=t.channels_last).is_contiguous(memory_format=t.channels_last)
t.ones(2, 1, 4, 5).is_contiguous(memory_format=t.channels_last)
t.ones(2, 3, 4, 5).is_contiguous(memory_format=t.preserve_format)
t.ones(2, 3, 4, 5).contiguous(memory_format=t.preserve_format)
t.ones(2, 3, 4, 5).permute(1, 0, 3, 2).is_contiguous(memory_format=t.preserve_format)
t.ones(2, 3, 4, 5).permute(1, 0, 3, 2).contiguous(memory_format=t.preserve_format)
t.ones(2, 3, 4, 5).is_contiguous(memory_format=t.channels_last_3d)
t.ones(2, 3, 4, 5).to(t.float64, memory_format=t.channels_last).stride()
t.ones(2, 3, 4, 5).to(memory_format=t.channels_last).clone().stride()
t.ones(2, 3, 4, 5).to(memory_format=t.channels_last).clone(memory_format=t.contiguous_format).stride()
t.ones(2, 3, 4, 5).to(memory_format=3)
t.zeros_like(t.ones(2, 3, 4, 5).to(memory_format=t.channels_last)).stride()
t.ones_like(t.ones(2, 3, 4, 5).to(memory_format=t.channels_last), dtype=t.int64).stride()
t.full_like(t.ones(2, 3, 4, 5), 2, memory_format=t.channels_last).stride()
t.empty_like(t.ones(2, 3, 4, 5).to(memory_format=t.channels_last), memory_format=t.contiguous_format).stride()
t.empty_like(t.ones(2, 3), memory_format=t.channels_last)
t.cat([t.ones(2, 3, 4, 5).to(memory_format=t.channels_last)] * 2, 1).stride()
t.cat([t.ones(2, 3, 4, 5).to(memory_format=t.channels_last), t.ones(2, 3, 4, 5)], 1).stride()
(t.ones(2, 3, 4, 5).to(memory_format=t.channels_last) + t.ones(3, 1, 1)).stride()
(t.ones(3, 1, 1) * t.ones(2, 3, 4, 5).to(memory_format=t.channels_last)).stride()
(2 - t.ones(2, 3, 4, 5).to(memory_format=t.channels_last)).stride()
(t.ones(()) - t.ones(2, 3, 4, 5).to(memory_format=t.channels_last)).stride()
t.where(t.ones(5) > 0, t.ones(2, 3, 4, 5).to(memory_format=t.channels_last), 0.0).stride()
x.is_floating_point()
x.dtype
x.requires_grad
x.is_leaf
(x * 1).is_leaf
x.grad
x.grad_fn
x.data.requires_grad
x.detach()
t.detach(x)
x.data
x.device.type
x.cpu()
x.item()
x.tolist()
x.numpy() if not x.requires_grad else None
x.detach().numpy().tolist()
len(x)
bool(x)
float(x)  # not: special
int(x)  # not: special
x[0, 0].item()
x.float()
x.double()
x.int()  # not: special
x.long()  # not: special
x.bool()
x.to(t.float64)
x.to('cpu')
x.to(dtype=t.int32)  # not: special
x.to('cpu', t.float32)
x.to(t.zeros(1, dtype=t.float64))
x.to(device='cpu', dtype=t.float64)
x.to(x, copy=True)
x.to(t.int32).to(t.float32)  # not: special
x.type(t.float32)
x.requires_grad_().requires_grad
x.requires_grad_(False).requires_grad
z = x.clone(); z.requires_grad_(False); z
z = x.detach(); z.requires_grad = True; z.requires_grad
z = x.detach(); z.data = t.zeros(2); z
z = x.double().detach(); z.requires_grad_(); (z * z).sum().backward(); z.grad  # not: special
format(x[0, 0], '.2f')  # not: 3-d
format(x[0, 0], '')  # not: 3-d
x.backward()
x.sum().backward(); x.grad
(x * x).backward(t.ones(3, 4)); x.grad
""")

CASTS = [
    Row(f"x.{name}().sum()  # not: special") for name in ("float", "double", "int", "long", "bool")
]  # fmt: skip
