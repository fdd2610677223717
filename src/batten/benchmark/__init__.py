"""The CPU benchmark suite: how fast this machine trains, how fast others do, and how fast it could be.

It measures the machine's own limits first: fused multiplications and additions, and traffic with
memory for arrays of 64 KiB, which lie in the first cache, to 256 MiB, which lie in none.  Then
products of matrices, layers forward and backward, on images too, steps of optimizers, and whole
training steps, each with its rate, its share of the limit, and how many times as long every peer takes.

How it measures, and why:

A process for each framework.  Two OpenMP runtimes in one process wait for work by spinning
against each other, and good kernels fall to 30-50 % of their speed.  Threads also spin for a
while after their work; so a process is stopped (SIGSTOP) while others have their turns.  Each
training step has processes of its own, so that the most memory that one held is the step's.

Rounds.  In each, every framework has its turn at every case, one after the other, so that a
change in the machine (its clock, a neighbour) hits all alike.  The first 10 ms of a turn do not
count: caches fill.  A turn's figure is the median of its samples, a case's the median of its rounds.

Ratios.  A peer's time is divided by that of the first framework in the same round; the table has
the median of these ratios, and in brackets the lowest and the highest.  Where these lie on
both sides of 1, or the median is below 1.1, the two are equal for all that can be said.

An idle machine.  One busy stranger turns every wait of two threads for each other into a wait for
a slice of time: steps have been seen to take thirty times as long.  So the suite looks at the load
average and at how much others compute, and before each group of cases it spins on all threads:
what that takes longer than at its best was stolen.  It warns at the end, and in the JSON file.

Limits.  A case says what it cannot do without: operations, bytes read and written, and the room
these take.  Its limit is the time of its operations at the measured rate, or of its bytes at the
rate of the fastest probe (read, copy, triad y = x + a z, change x = x + a z, scale x = x + a x)
in arrays of that room, whichever is longer.  More than 100 % is possible, where a case finds in a cache what
another has left there.

Convolutions.  Their operations are those of the definition, two for each product of a weight and a pixel,
without the products with padding.  Winograd's algorithm takes up to four times fewer multiplications: so
a convolution, or a training step of many, may go beyond 100 % of the limit, and beyond the rate of
arithmetic that the machine has.  That is how much was saved, not a fault of the measurement.

Images.  A network is given them in the order of memory that is usual where the framework, or the way to use
it, is: batten and plain PyTorch have them channel by channel, as data sets do, and the time to bring them
into another order counts; for PyTorch with channels last, and for JAX, they lie so beforehand.

Augmentation.  Images of bytes lie with their channels last, and each has random numbers of its own.  For NumPy
that is one operation for the whole batch, or a loop over images where that is faster.  torchvision draws once a
call: `torchvision` is called for each image, as data sets do, and `torchvision_batch` once, for a batch whose
images are then all changed alike, which is less work.

Memory and page faults.  `peak` is the most memory a process has held, `of step` without what it
held when the framework was imported; `faults` are fresh pages a step.  In a steady step they
should be none: fresh memory costs several times what memory that is reused does.
"""
