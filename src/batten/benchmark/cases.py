"""What is measured: one row a case.

A case names its work and says what the work cannot do without: arithmetic, traffic with
memory, the room in memory that this goes through.  From these and the machine's limits
follows the time that no implementation can go below.  The work itself is a function of
`torch`, which is PyTorch, batten or whatever else answers to PyTorch's names: it makes what
is needed, and returns a function that does the work once.

To add a case, add a row to CASES, and its function below it if that is new.  A framework
that speaks otherwise has a function of the same name and sizes in its file under bench/.

Of what is done with images, `torch` says in which order they shall lie in memory: `images_lie`
those that a network is given, `features_lie` what one layer hands to the next.  And it brings
its `models`, `residual(norm, x, z)`, the relu of norm(x) + z, the layers `L1BatchNorm2d(features)`,
`GaussianNoise(std)`, and `DropConnect(inputs, outputs, p)`, of which the mean of a relu by
`activation="relu", inference="analytic"`, and the penalties `L1(lambda_)` and `L2(lambda_)`, functions of weights.
Its `transforms` are called by `augment(transform, images)`; its loaders are in `data`.

Workers read this file outside of the package, so it imports nothing of batten's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import chain, pairwise, repeat
from typing import Any, NamedTuple

import numpy as np

Run = Callable[[], Any]
FLOAT = 4  # bytes; every case is in float32
Ki, Mi = 1 << 10, 1 << 20


class Case(NamedTuple):
    """A row: what is done, and what it takes at least."""

    group: str  # cases of a group share processes
    name: str
    function: Callable[..., Run]
    sizes: tuple[Any, ...]
    flops: int = 0
    bytes: float = 0  # read and written
    room: int = 0  # bytes that lie in memory; which cache holds them decides how fast they come
    images: int = 0  # that a training step learns from, or that are made or fetched

    def prepare(self, torch: Any) -> Run:
        return self.function(torch, *self.sizes)


# ---- kinds of rows ----


def product(form: str, m: int, n: int, k: int) -> Case:
    """c (m, n) = a (m, k) b (k, n); the form says for a and b whether it lies as it is, N, or transposed, T."""
    name = f"gemm {form} {m}" if m == n == k else f"gemm {form} {m}x{n}x{k}"
    memory = FLOAT * (m * k + k * n + m * n)
    return Case("products", name, gemm, (form, m, n, k), 2 * m * n * k, memory, memory)


class Layer(NamedTuple):
    """A convolution of images of size x size, or a pool, which has as many groups as channels; and what it takes."""

    channels: int
    features: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def passes(self) -> int:
        """Forward, and back to its weight and its input; but nobody asks for the gradient of the images themselves."""
        return 2 if self.channels <= 3 else 3

    @property
    def places(self) -> range:
        """The rows on which the kernel is laid, or the columns."""
        return range(-self.padding, self.size + self.padding - self.kernel + 1, self.stride)

    @property
    def inputs(self) -> int:
        return self.channels * self.size**2

    @property
    def used(self) -> int:
        """Of the inputs: a kernel smaller than its stride leaves some out."""
        return self.channels * min(self.size, self.kernel * len(self.places)) ** 2

    @property
    def outputs(self) -> int:
        return self.features * len(self.places) ** 2

    @property
    def weights(self) -> int:
        return self.features * self.channels // self.groups * self.kernel**2

    @property
    def products(self) -> int:
        """Multiplications forward, by the definition, without those by padding."""
        covered = sum(min(place + self.kernel, self.size) - max(place, 0) for place in self.places)
        return self.features * self.channels // self.groups * covered**2

    def traffic(self, batch: int) -> int:
        """Numbers: x is read forward and backward, y written and dy read; w is read forward and dw written; and
        for dx w is read again, and dx written."""
        images = 2 * self.used + 2 * self.outputs + (self.passes - 2) * self.inputs
        return batch * images + self.passes * self.weights


def convolution(batch: int, *numbers: int, **options: int) -> Case:
    """Forward, and back to all gradients."""
    layer = Layer(*numbers, **options)
    channels, features, size, kernel, stride, _, groups = layer
    name = f"conv {batch}x{channels}->{features}x{size} {kernel}x{kernel}"
    name += f" s{stride}" * (stride > 1) + " depthwise" * (groups > 1)
    flops = 2 * batch * layer.passes * layer.products
    room = (layer.passes - 1) * batch * layer.inputs + 2 * (batch * layer.outputs + layer.weights)
    return Case("images", name, conv, (batch, *layer), flops, FLOAT * layer.traffic(batch), FLOAT * room)


def pool(batch: int, channels: int, size: int, kernel: int, stride: int, padding: int = 0) -> Case:
    """Forward and backward: a comparison for each number under the kernel, and an addition for each result."""
    layer = Layer(channels, channels, size, kernel, stride, padding, groups=channels)
    name = f"max_pool {batch}x{channels}x{size} {kernel}x{kernel}" + f" s{stride}" * (stride != kernel)
    memory = 2 * FLOAT * batch * (layer.inputs + layer.outputs)
    flops = batch * (layer.products + layer.outputs)
    return Case("images", name, max_pool, (batch, channels, size, kernel, stride, padding), flops, memory, memory)


def both_ways(
    function: Callable[..., Run], *shape: int, flops: int, passes: float, arrays: int = 4, group: str = "layers"
) -> Case:
    """A layer forward and backward, with so many operations an element; the arrays x, y, dy and dx
    are gone over so many times in all."""
    n = math.prod(shape)
    size = f"{n // Mi} Mi" if n >= Mi else f"{n // Ki} Ki"
    name = f"{function.__name__} {size if len(shape) == 1 else 'x'.join(map(str, shape))}"
    return Case(group, name, function, shape, flops * n, FLOAT * passes * n, FLOAT * arrays * n)


def connections(function: Callable[..., Run], batch: int, inputs: int, outputs: int, passes: int) -> Case:
    """A linear layer whose weights are dropped, of which so many products are taken."""
    n = batch * (inputs + outputs)
    name = f"{function.__name__} {batch}x{inputs}->{outputs}"
    memory = FLOAT * (min(passes, 2) * n + passes * inputs * outputs)
    sizes = (batch, inputs, outputs, 0.5)
    return Case("layers", name, function, sizes, 2 * passes * batch * inputs * outputs, memory, memory)


def update(function: Callable[..., Run], flops: int, passes: int, arrays: int, few: bool = True) -> Case:
    """A step of an optimizer, or what else goes over all parameters: ten of a million numbers, or a hundred of a
    thousand."""
    count, size = (10, Mi) if few else (100, Ki)
    n = count * size
    name = f"{function.__name__} {'10 Mi' if few else '100x1 Ki'}"
    return Case("optimizers", name, function, (count, size), flops * n, FLOAT * passes * n, FLOAT * arrays * n)


def training(function: Callable[..., Run], batch: int, *widths: int, passes: int, arrays: int) -> Case:
    """A training step of a perceptron of so many features, hidden units and classes.

    Its traffic is that of the weights: the optimizer's passes over its arrays, and one pass
    forward, one backward and one to write the gradient.
    """
    weights = [a * b for a, b in pairwise(widths)]
    flops = 2 * batch * (3 * sum(weights) - weights[0])  # nobody asks for the gradient of the images
    memory = FLOAT * sum(weights)
    name = function.__name__
    return Case(name, name, function, (batch, *widths), flops, (passes + 3) * memory, arrays * memory, images=batch)


def image_training(
    function: Callable[..., Run], batch: int, layers: list[Layer], *widths: int, passes: int, arrays: int
) -> Case:
    """A training step of a network of these convolutions, and linear layers of such widths behind them.

    Its traffic is that of the convolutions, and of all weights as above.  What is between the convolutions can be
    done where one writes or reads, and counts for nothing.
    """
    linear = sum(a * b for a, b in pairwise(widths))
    weights = linear + sum(layer.weights for layer in layers)
    flops = 2 * batch * (3 * linear + sum(layer.passes * layer.products for layer in layers))
    traffic = sum(layer.traffic(batch) for layer in layers) + 3 * linear + passes * weights
    room = batch * sum(layer.inputs for layer in layers) + arrays * weights
    name = function.__name__
    return Case(name, name, function, (batch,), flops, FLOAT * traffic, FLOAT * room, images=batch)


def augmentation(
    function: Callable[..., Run],
    n: int,
    size: int,
    *options: Any,
    to: int = 0,
    flops: int,
    read: float = 1,
    width: int = 1,
) -> Case:
    """n images of bytes, of which so much is read, made into others, whose numbers have so many bytes and take so many
    operations."""
    words = [x for x in options if isinstance(x, str)]
    name = " ".join([function.__name__, *words, f"{n}x{size}" + f"->{to}" * (to > 0)])
    inputs, outputs = 3 * n * size**2, 3 * n * (to or size) ** 2
    sizes = (n, size, *([to] if to else []), *options)
    memory = read * inputs + width * outputs
    return Case("augment", name, function, sizes, flops * outputs, memory, inputs + width * outputs, images=n)


def loading(rows: int, features: int, batch: int) -> Case:
    """A batch is read and written; its rows come from anywhere."""
    name = f"loader {batch} of {rows}x{features}"
    memory = 2 * FLOAT * batch * features
    return Case("data", name, loader, (rows, features, batch), 0, memory, FLOAT * rows * features, images=batch)


# ---- products of matrices ----


def gemm(torch: Any, form: str, m: int, n: int, k: int) -> Run:
    a = values(torch, m, k) if form[0] == "N" else values(torch, k, m).T
    b = values(torch, k, n) if form[1] == "N" else values(torch, n, k).T
    c = values(torch, m, n)
    return lambda: torch.mm(a, b, out=c)


# ---- layers, forward and backward ----


def relu(torch: Any, *shape: int) -> Run:
    return there_and_back(torch, torch.nn.ReLU(), *shape)


def dropout(torch: Any, *shape: int) -> Run:
    return there_and_back(torch, torch.nn.Dropout(0.5), *shape)


def gaussian_noise(torch: Any, *shape: int) -> Run:
    return there_and_back(torch, torch.GaussianNoise(0.1), *shape)


def alpha_dropout(torch: Any, *shape: int) -> Run:
    return there_and_back(torch, torch.nn.AlphaDropout(0.5), *shape)


def relu_dropout(torch: Any, *shape: int) -> Run:
    return there_and_back(torch, torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(0.5)), *shape)


def drop_connect(torch: Any, batch: int, inputs: int, outputs: int, p: float) -> Run:
    """A mask for each example"""
    layer, x = connected(torch.DropConnect(inputs, outputs, p), torch, batch)
    return gradients(layer, x, values(torch, batch, outputs, seed=1), [x, *layer.parameters()])


def drop_connect_inference(torch: Any, batch: int, inputs: int, outputs: int, p: float) -> Run:
    """The mean of the relu of a normal number, whose moments are two products"""
    layer = torch.DropConnect(inputs, outputs, p, activation="relu", inference="analytic").eval()
    layer, x = connected(layer, torch, batch)

    def run() -> Any:
        with torch.no_grad():
            return layer(x)

    return run


def connected(layer: Any, torch: Any, batch: int) -> tuple[Any, Any]:
    """The layer with weights that everyone has, and its input."""
    layer.load_state_dict({name: values(torch, *p.shape) for name, p in layer.state_dict().items()})
    return layer, values(torch, batch, layer.in_features, seed=2).requires_grad_()


def batch_norm(torch: Any, rows: int, features: int) -> Run:
    return there_and_back(torch, torch.nn.BatchNorm1d(features), rows, features)


def batch_norm_relu(torch: Any, rows: int, features: int) -> Run:
    nn = torch.nn
    return there_and_back(torch, nn.Sequential(nn.BatchNorm1d(features), nn.ReLU()), rows, features)


def batch_norm_relu_dropout(torch: Any, rows: int, features: int) -> Run:
    nn = torch.nn
    layers = nn.Sequential(nn.BatchNorm1d(features), nn.ReLU(), nn.Dropout(0.5))
    return there_and_back(torch, layers, rows, features)


def layer_norm(torch: Any, rows: int, features: int) -> Run:
    return there_and_back(torch, torch.nn.LayerNorm(features), rows, features)


def rms_norm(torch: Any, rows: int, features: int) -> Run:
    return there_and_back(torch, torch.nn.RMSNorm(features), rows, features)


def softmax(torch: Any, rows: int, classes: int) -> Run:
    return there_and_back(torch, torch.nn.Softmax(1), rows, classes)


def there_and_back(torch: Any, layer: Any, *shape: int) -> Run:
    x = values(torch, *shape).requires_grad_()
    return gradients(layer, x, values(torch, *shape, seed=1), [x])


def gradients(layer: Any, x: Any, dy: Any, of: list[Any]) -> Run:
    """Forward and backward; a run returns the gradients of these."""

    def run() -> Any:
        layer.zero_grad()
        x.grad = None
        layer(x).backward(dy)
        return [p.grad for p in of]

    return run


def cross_entropy(torch: Any, rows: int, classes: int) -> Run:
    x, target = values(torch, rows, classes).requires_grad_(), labels(torch, rows, classes)
    loss = torch.nn.CrossEntropyLoss()

    def run() -> Any:
        x.grad = None
        loss(x, target).backward()
        return x.grad

    return run


# ---- layers on images, forward and backward ----


def conv(
    torch: Any, batch: int, channels: int, features: int, size: int, kernel: int, stride: int, padding: int, groups: int
) -> Run:
    layer = torch.nn.Conv2d(channels, features, kernel, stride, padding, groups=groups)
    layer.load_state_dict({name: values(torch, *p.shape) for name, p in layer.state_dict().items()})
    layer.to(memory_format=torch.features_lie)
    about = Layer(channels, features, size, kernel, stride, padding, groups)
    dy = between(torch, batch, features, len(about.places), len(about.places), seed=1)
    if about.passes == 2:
        return gradients(layer, images(torch, batch, channels, size, size), dy, [*layer.parameters()])
    x = between(torch, batch, channels, size, size).requires_grad_()
    return gradients(layer, x, dy, [x, *layer.parameters()])


def max_pool(torch: Any, batch: int, channels: int, size: int, kernel: int, stride: int, padding: int) -> Run:
    outputs = len(Layer(channels, channels, size, kernel, stride, padding).places)
    x = between(torch, batch, channels, size, size).requires_grad_()
    dy = between(torch, batch, channels, outputs, outputs, seed=1)
    return gradients(torch.nn.MaxPool2d(kernel, stride, padding), x, dy, [x])


def dropout2d(torch: Any, *shape: int) -> Run:
    return among_images(torch, torch.nn.Dropout2d(0.5), *shape)


def batch_norm2d_relu(torch: Any, *shape: int) -> Run:
    nn = torch.nn
    return among_images(torch, nn.Sequential(nn.BatchNorm2d(shape[1]), nn.ReLU()), *shape)


def batch_norm2d_add_relu(torch: Any, *shape: int) -> Run:
    """What a residual block ends with: the sum with what went round it, before the ReLU"""
    return at_the_end_of_a_block(torch, torch.nn.BatchNorm2d(shape[1]), *shape)


def group_norm_add_relu(torch: Any, *shape: int) -> Run:
    """The same with eight groups"""
    return at_the_end_of_a_block(torch, torch.nn.GroupNorm(8, shape[1]), *shape)


def at_the_end_of_a_block(torch: Any, norm: Any, *shape: int) -> Run:
    x, z = (between(torch, *shape, seed=seed).requires_grad_() for seed in (0, 2))
    dy = between(torch, *shape, seed=1)

    def run() -> Any:
        norm.zero_grad()
        x.grad = z.grad = None
        torch.residual(norm, x, z).backward(dy)
        return [x.grad, z.grad]

    return run


def l1_batch_norm2d(torch: Any, *shape: int) -> Run:
    """By the mean of |x - mean|, which takes the mean first"""
    return among_images(torch, torch.L1BatchNorm2d(shape[1]), *shape)


def group_norm(torch: Any, *shape: int) -> Run:
    """Eight groups"""
    return among_images(torch, torch.nn.GroupNorm(8, shape[1]), *shape)


def instance_norm2d(torch: Any, *shape: int) -> Run:
    """With a weight and a bias"""
    return among_images(torch, torch.nn.InstanceNorm2d(shape[1], affine=True), *shape)


def local_response_norm(torch: Any, *shape: int) -> Run:
    """Over five channels"""
    return among_images(torch, torch.nn.LocalResponseNorm(5), *shape)


def among_images(torch: Any, layer: Any, *shape: int) -> Run:
    x = between(torch, *shape).requires_grad_()
    return gradients(layer, x, between(torch, *shape, seed=1), [x])


# ---- optimizers ----


def sgd(torch: Any, count: int, n: int) -> Run:
    params = parameters(torch, count, n)
    return updating(params, torch.optim.SGD(params, lr=1e-3, momentum=0.9))


def adam(torch: Any, count: int, n: int) -> Run:
    params = parameters(torch, count, n)
    return updating(params, torch.optim.Adam(params, lr=1e-3))


def rmsprop(torch: Any, count: int, n: int) -> Run:
    params = parameters(torch, count, n)
    return updating(params, torch.optim.RMSprop(params, lr=1e-3))


def adadelta(torch: Any, count: int, n: int) -> Run:
    params = parameters(torch, count, n)
    return updating(params, torch.optim.Adadelta(params))


def parameters(torch: Any, count: int, n: int) -> list[Any]:
    """In memory of the framework's own, as those of models are."""
    params = [values(torch, n).clone().requires_grad_() for _ in range(count)]
    for p in params:
        p.grad = values(torch, n).clone()
    return params


def updating(params: list[Any], optimizer: Any) -> Run:
    def run() -> Any:
        optimizer.step()
        return params

    return run


# ---- what else goes over all parameters ----


def clip_grad_norm(torch: Any, count: int, n: int) -> Run:
    """Of gradients whose norm is too large, time and again: each run puts back the one number that makes it so"""
    params = parameters(torch, count, n)
    for p in params:
        p.grad.zero_()
    first = params[0].grad.numpy()

    def run() -> Any:
        first[0] = 10
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        return [p.grad for p in params]

    return run


def l1_penalty(torch: Any, count: int, n: int) -> Run:
    return penalized(torch, torch.L1(0.1), count, n)


def l2_penalty(torch: Any, count: int, n: int) -> Run:
    return penalized(torch, torch.L2(0.1), count, n)


def penalized(torch: Any, penalty: Any, count: int, n: int) -> Run:
    """A penalty on weights, which have two axes, and its gradients"""
    weights = [values(torch, n, 1).clone().requires_grad_() for _ in range(count)]

    def run() -> Any:
        for w in weights:
            w.grad = None
        penalty(weights).backward()
        return [w.grad for w in weights]

    return run


# ---- what goes before a training step ----


def crop_flip_normalize(torch: Any, n: int, size: int, padding: int, p: float) -> Run:
    """What CIFAR-10 is trained with as a rule"""
    steps = torch.transforms
    transform = steps.Compose(
        [
            steps.RandomCrop(size, padding),
            steps.RandomHorizontalFlip(p),
            steps.ToDtype(torch.float32, scale=True),
            steps.Normalize(MEAN, STD),
        ]
    )
    return augmenting(torch, transform, n, size)


def rotation(torch: Any, n: int, size: int, interpolation: str, degrees: tuple[float, float]) -> Run:
    return augmenting(torch, torch.transforms.RandomRotation(degrees, interpolation), n, size)


def resized_crop(torch: Any, n: int, size: int, to: int, scale: tuple[float, float]) -> Run:
    """What ImageNet is trained with as a rule"""
    return augmenting(torch, torch.transforms.RandomResizedCrop(to, scale), n, size)


def augmenting(torch: Any, transform: Any, n: int, size: int) -> Run:
    images = torch.from_numpy(pictures(n, size)).permute(0, 3, 1, 2)
    return lambda: torch.augment(transform, images)


def loader(torch: Any, rows: int, features: int, batch: int) -> Run:
    """The next batch, of the next epoch where there is none left"""
    dataset = torch.data.TensorDataset(values(torch, rows, features), labels(torch, rows, 10))
    epoch = torch.data.DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True)
    batches = chain.from_iterable(repeat(epoch))
    return lambda: next(batches)


# ---- training steps, as they are written for PyTorch ----


def mlp_digits(torch: Any, batch: int, *widths: int) -> Run:
    """ReLU; SGD with momentum"""
    nn = torch.nn
    features, first, second, classes = widths
    model = nn.Sequential(
        nn.Linear(features, first), nn.ReLU(),
        nn.Linear(first, second), nn.ReLU(),
        nn.Linear(second, classes),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return step(torch, model, optimizer, values(torch, batch, features), classes)


def mlp_mnist(torch: Any, batch: int, *widths: int) -> Run:
    """BatchNorm1d, ReLU and Dropout 0.5; Adam"""
    nn = torch.nn
    features, first, second, classes = widths
    model = nn.Sequential(
        nn.Linear(features, first), nn.BatchNorm1d(first), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(first, second), nn.BatchNorm1d(second), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(second, classes),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return step(torch, model, optimizer, values(torch, batch, features), classes)


def mlp_wide(torch: Any, batch: int, *widths: int) -> Run:
    """ReLU and Dropout 0.5, in a Module of one's own; SGD with momentum and weight decay"""
    features, first, second, classes = widths

    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(features, first)
            self.second = torch.nn.Linear(first, second)
            self.last = torch.nn.Linear(second, classes)
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            x = self.dropout(torch.relu(self.first(x)))
            x = self.dropout(torch.relu(self.second(x)))
            return self.last(x)

    model = Wide()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    return step(torch, model, optimizer, values(torch, batch, features), classes)


def lenet_mnist(torch: Any, batch: int) -> Run:
    """LeNet-5; Adam"""
    model = torch.models.lenet5()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return image_step(torch, model, optimizer, batch, 1, 28)


def vgg11_bn_cifar(torch: Any, batch: int) -> Run:
    """VGG with BatchNorm2d; SGD with momentum and weight decay"""
    model = torch.models.vgg11(norm="batch")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return image_step(torch, model, optimizer, batch, 3, 32)


def resnet20_cifar(torch: Any, batch: int) -> Run:
    """A residual network with BatchNorm2d; SGD with momentum and weight decay"""
    return resnet20(torch, batch, "batch")


def resnet20_gn(torch: Any, batch: int) -> Run:
    """The same with GroupNorm in groups of eight channels"""
    return resnet20(torch, batch, "group")


def resnet20(torch: Any, batch: int, norm: str) -> Run:
    model = torch.models.resnet20(norm=norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    return image_step(torch, model, optimizer, batch, 3, 32)


def alexnet_cifar(torch: Any, batch: int) -> Run:
    """AlexNet with LocalResponseNorm and Dropout 0.5; SGD with momentum"""
    model = torch.models.alexnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return image_step(torch, model, optimizer, batch, 3, 32)


def image_step(torch: Any, model: Any, optimizer: Any, batch: int, channels: int, size: int) -> Run:
    model.to(memory_format=torch.features_lie)
    return step(torch, model, optimizer, images(torch, batch, channels, size, size), 10)


def step(torch: Any, model: Any, optimizer: Any, x: Any, classes: int) -> Run:
    y = labels(torch, x.shape[0], classes)
    criterion = torch.nn.CrossEntropyLoss()

    def run() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return run


# ---- the machine's limits, by batten's probes of it (ext/probe.c) ----


def arithmetic(batten: Any, n: int, times: int) -> Run:
    """Fused multiplications and additions in registers."""
    (x,) = arrays(batten, 1, n)
    return lambda: batten._kernels.probe_fma(x, x, 0.5, 1.0, times)


def read(batten: Any, n: int, times: int) -> Run:
    (x,), sums = arrays(batten, 1, n), batten.ones(-(-n // 1024)).array
    return lambda: batten._kernels.probe_read(sums, x, times)


def copy(batten: Any, n: int, times: int) -> Run:
    x, y = arrays(batten, 2, n)
    return lambda: batten._kernels.probe_copy(y, x, times)


def triad(batten: Any, n: int, times: int) -> Run:
    """y = x + z / 2"""
    x, y, z = arrays(batten, 3, n)
    return lambda: batten._kernels.probe_triad(y, x, z, 0.5, times)


def change(batten: Any, n: int, times: int) -> Run:
    """x = x + 0 z: nothing is written but where it was read."""
    x, z = arrays(batten, 2, n)
    return lambda: batten._kernels.probe_triad(x, x, z, 0.0, times)


def scale(batten: Any, n: int, times: int) -> Run:
    """x = x + 0 x: as many writes as reads, which some memory can do at once."""
    (x,) = arrays(batten, 1, n)
    return lambda: batten._kernels.probe_triad(x, x, x, 0.0, times)


@cache
def memory(batten: Any) -> Any:
    """As much as the largest probe takes, in one piece: to be given so much anew takes longer than to use it."""
    return batten.ones(ROOMS[-1] // FLOAT).array


def arrays(batten: Any, count: int, n: int) -> list[Any]:
    return [memory(batten)[i * n : (i + 1) * n] for i in range(count)]


def stream(function: Callable[..., Run], room: int, passes: int, arrays: int) -> Case:
    n = room // FLOAT // arrays // 1024 * 1024  # whole pages
    times = -(-16 * Mi // room)  # so that a call takes about a millisecond
    return Case("limits", function.__name__, function, (n, times), 0, FLOAT * passes * n * times, room)


# ---- numbers to work on ----


def values(torch: Any, *shape: int, seed: int = 0) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


def images(torch: Any, *shape: int) -> Any:
    """What a network is given."""
    return values(torch, *shape).to(memory_format=torch.images_lie)


def between(torch: Any, *shape: int, seed: int = 0) -> Any:
    """What one layer of a network on images hands to the next, or back."""
    return values(torch, *shape, seed=seed).to(memory_format=torch.features_lie)


def labels(torch: Any, rows: int, classes: int) -> Any:
    return torch.from_numpy(np.random.default_rng(0).integers(0, classes, rows))


def pictures(n: int, size: int) -> np.ndarray:
    """Images of bytes as files have them, (N, H, W, C)."""
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the colours of CIFAR-10

# ---- the tables ----

LENET5 = [Layer(1, 20, 28, 5), Layer(20, 50, 12, 5)]
VGG11 = [
    Layer(3, 64, 32, 3, padding=1),
    Layer(64, 128, 16, 3, padding=1),
    Layer(128, 256, 8, 3, padding=1),
    Layer(256, 256, 8, 3, padding=1),
    Layer(256, 512, 4, 3, padding=1),
    Layer(512, 512, 4, 3, padding=1),
    *[Layer(512, 512, 2, 3, padding=1)] * 2,
]
RESNET20 = [
    Layer(3, 16, 32, 3, padding=1),
    *[Layer(16, 16, 32, 3, padding=1)] * 6,
    Layer(16, 32, 32, 3, stride=2, padding=1),
    *[Layer(32, 32, 16, 3, padding=1)] * 5,
    Layer(32, 64, 16, 3, stride=2, padding=1),
    *[Layer(64, 64, 8, 3, padding=1)] * 5,
]
ALEXNET = [
    Layer(3, 64, 32, 5, padding=2),
    Layer(64, 192, 15, 5, padding=2),
    Layer(192, 384, 7, 3, padding=1),
    Layer(384, 256, 7, 3, padding=1),
    Layer(256, 256, 7, 3, padding=1),
]

# what a batch is between the layers of VGG and of ResNet
FEATURES = [
    (64, 64, 32, 32),
    (64, 128, 16, 16),
    (64, 256, 8, 8),
    (64, 512, 4, 4),
    (128, 16, 32, 32),
    (128, 32, 16, 16),
    (128, 64, 8, 8),
]

ROWS = [(128, 512), (1024, 1024), (4096, 512), (256, 4096), (8192, 768)]

ROOMS = [64 * Ki, 256 * Ki, 1 * Mi, 4 * Mi, 16 * Mi, 64 * Mi, 256 * Mi]
LIMITS = [
    Case("limits", "arithmetic", arithmetic, (57344, 2048), 2 * 57344 * 2048),
    *(stream(read, room, passes=1, arrays=1) for room in ROOMS),
    *(stream(copy, room, passes=2, arrays=2) for room in ROOMS),
    *(stream(triad, room, passes=3, arrays=3) for room in ROOMS),
    *(stream(change, room, passes=3, arrays=2) for room in ROOMS),
    *(stream(scale, room, passes=2, arrays=1) for room in ROOMS),
]

CASES = [
    *(product("NN", n, n, n) for n in (64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 4096)),
    product("NT", 128, 512, 784),  # a layer of 512 units on 784 features forward,
    product("NN", 128, 784, 512),  # back to its input,
    product("TN", 512, 784, 128),  # and to its weight
    product("NT", 32, 128, 64),
    product("TN", 128, 64, 32),
    product("NT", 256, 4096, 1024),
    product("NN", 256, 1024, 4096),
    product("TN", 4096, 1024, 256),
    product("NT", 256, 4096, 4096),
    product("NN", 256, 4096, 4096),
    product("TN", 4096, 4096, 256),
    product("NT", 64, 500, 800),
    product("NT", 32, 10, 128),  # ten classes
    product("NT", 128, 10, 512),
    product("NT", 256, 10, 512),
    product("TN", 10, 512, 128),
    product("NN", 128, 512, 10),
    *(both_ways(relu, n, flops=2, passes=5) for n in (2 * Ki, 64 * Ki, 1 * Mi, 16 * Mi)),
    *(both_ways(dropout, n, flops=2, passes=4 + 2 / 32) for n in (2 * Ki, 64 * Ki, 1 * Mi, 16 * Mi)),  # a bit of mask
    *(both_ways(gaussian_noise, n, flops=2, passes=4) for n in (64 * Ki, 1 * Mi, 16 * Mi)),
    both_ways(alpha_dropout, 1 * Mi, flops=3, passes=4 + 2 / 32),
    *(both_ways(relu_dropout, n, flops=4, passes=4 + 4 / 32) for n in (1 * Mi, 16 * Mi)),
    connections(drop_connect, 128, 1024, 1024, passes=3),
    connections(drop_connect_inference, 128, 1024, 1024, passes=2),
    *(both_ways(batch_norm, *shape, flops=14, passes=8) for shape in ((128, 512), (1024, 1024), (4096, 4096))),
    *(both_ways(batch_norm_relu, *shape, flops=16, passes=8) for shape in ((128, 512), (1024, 1024), (4096, 4096))),
    *(
        both_ways(batch_norm_relu_dropout, *shape, flops=18, passes=8 + 3 / 32)
        for shape in ((128, 512), (1024, 1024), (4096, 4096))
    ),
    *(both_ways(layer_norm, *shape, flops=19, passes=5) for shape in ROWS),  # a row stays in the cache
    *(both_ways(rms_norm, *shape, flops=12, passes=5) for shape in ROWS),
    both_ways(softmax, 256, 1000, flops=8, passes=5),
    both_ways(cross_entropy, 128, 10, flops=8, passes=3, arrays=2),
    both_ways(cross_entropy, 256, 1000, flops=8, passes=3, arrays=2),
    *(convolution(64, c, c, size, 3, padding=1) for c, size in ((64, 32), (128, 16), (256, 8), (512, 4), (512, 2))),
    *(convolution(128, c, c, size, 3, padding=1) for c, size in ((16, 32), (32, 16), (64, 8))),
    convolution(128, 16, 32, 32, 3, stride=2, padding=1),
    convolution(128, 32, 64, 16, 3, stride=2, padding=1),
    convolution(64, 64, 128, 16, 1),
    convolution(128, 16, 32, 32, 1, stride=2),
    convolution(64, 20, 50, 12, 5),
    convolution(128, 64, 192, 16, 5, padding=2),
    convolution(64, 3, 64, 32, 3, padding=1),
    convolution(64, 1, 20, 28, 5),
    convolution(64, 64, 64, 32, 3, padding=1, groups=64),
    pool(64, 64, 32, 2, stride=2),
    pool(128, 64, 32, 3, stride=2),
    both_ways(dropout2d, 128, 16, 32, 32, flops=2, passes=4, group="images"),
    *(both_ways(batch_norm2d_relu, *shape, flops=16, passes=8, group="images") for shape in FEATURES),
    *(both_ways(batch_norm2d_add_relu, *shape, flops=18, passes=11, arrays=7, group="images") for shape in FEATURES),
    both_ways(l1_batch_norm2d, 128, 16, 32, 32, flops=17, passes=9, group="images"),
    # An image stays in the cache between the walks over it.
    *(both_ways(group_norm, *shape, flops=14, passes=5, group="images") for shape in FEATURES),
    both_ways(group_norm_add_relu, 128, 16, 32, 32, flops=18, passes=8, arrays=7, group="images"),
    *(both_ways(instance_norm2d, *shape, flops=14, passes=5, group="images") for shape in FEATURES),
    both_ways(local_response_norm, 128, 64, 32, 32, flops=16, passes=5, group="images"),
    update(sgd, flops=4, passes=5, arrays=3),
    update(adam, flops=12, passes=7, arrays=4),
    update(rmsprop, flops=9, passes=5, arrays=3),
    update(adadelta, flops=14, passes=7, arrays=4),
    update(clip_grad_norm, flops=3, passes=3, arrays=1),
    update(l1_penalty, flops=3, passes=3, arrays=2),
    update(l2_penalty, flops=3, passes=3, arrays=2),
    *(
        update(function, flops, passes, arrays, few=False)
        for function, flops, passes, arrays in (
            (sgd, 4, 5, 3),
            (adam, 12, 7, 4),
            (rmsprop, 9, 5, 3),
            (adadelta, 14, 7, 4),
            (clip_grad_norm, 3, 3, 1),
        )
    ),
    *(augmentation(crop_flip_normalize, n, 32, 4, 0.5, flops=2, width=FLOAT) for n in (128, 1024)),
    # Nearest pixels take two additions a pixel, to be found; a mean of four takes three means of two.
    augmentation(rotation, 1024, 32, "nearest", (-15.0, 15.0), flops=1),
    augmentation(rotation, 1024, 32, "bilinear", (-15.0, 15.0), flops=9),
    # A part is 54 % of its image on average, and a mean of two pixels is taken along each axis, or of more.
    *(
        augmentation(resized_crop, 64, size, (0.08, 1.0), to=to, flops=6, read=0.54)
        for size, to in ((64, 32), (256, 224))
    ),
    loading(50_000, 784, 128),
    training(mlp_digits, 32, 64, 128, 128, 10, passes=5, arrays=3),
    training(mlp_mnist, 128, 784, 512, 512, 10, passes=7, arrays=4),
    training(mlp_wide, 256, 1024, 4096, 4096, 1000, passes=5, arrays=3),
    image_training(lenet_mnist, 64, LENET5, 800, 500, 10, passes=7, arrays=4),
    image_training(vgg11_bn_cifar, 64, VGG11, 512, 10, passes=5, arrays=3),
    image_training(resnet20_cifar, 128, RESNET20, 64, 10, passes=5, arrays=3),
    image_training(resnet20_gn, 128, RESNET20, 64, 10, passes=5, arrays=3),
    image_training(alexnet_cifar, 128, ALEXNET, 2304, 1024, 1024, 10, passes=5, arrays=3),
]
