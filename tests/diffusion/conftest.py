"""One thread for this folder: its tensors are tiny, and waking a second thread costs a thousand times the sum."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Compute on one thread, and leave the setting as it was found."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
