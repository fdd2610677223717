"""Data sets, orders of their samples, and the loader that makes batches of them, under the names of torch.utils.data.

Dataset, TensorDataset          what has a length, and a sample for each number
Subset, ConcatDataset
random_split
Sampler, SequentialSampler      orders of numbers
RandomSampler, BatchSampler
SubsetRandomSampler
WeightedRandomSampler
default_collate                 samples to a batch
default_convert                 a sample, or a whole batch, to tensors
DataLoader                      batches, made on threads while the one before them is learned from
"""

from .collate import default_collate as default_collate
from .collate import default_convert as default_convert
from .dataset import ConcatDataset as ConcatDataset
from .dataset import Dataset as Dataset
from .dataset import Subset as Subset
from .dataset import TensorDataset as TensorDataset
from .dataset import random_split as random_split
from .loader import DataLoader as DataLoader
from .sampler import BatchSampler as BatchSampler
from .sampler import RandomSampler as RandomSampler
from .sampler import Sampler as Sampler
from .sampler import SequentialSampler as SequentialSampler
from .sampler import SubsetRandomSampler as SubsetRandomSampler
from .sampler import WeightedRandomSampler as WeightedRandomSampler
