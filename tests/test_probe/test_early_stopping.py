import numpy as np

from probe.heads.early_stopping import EarlyStopping


def see_all(stopping, losses):
    """Return after how many epochs it was over, and what was better when."""
    better = []
    for epoch, of_epoch in enumerate(losses, 1):
        better.append(stopping.see(epoch, np.array(of_epoch)).tolist())
        if stopping.is_over:
            return epoch, better
    return None, better


def test_each_head_stops_when_its_own_patience_ends():
    stopping = EarlyStopping(np.arange(3), 2, 2)
    # The first is best in epoch 1 and stops after 3; the second is best in epoch 3 and stops after 5.
    ended, better = see_all(stopping, [(1.0, 3.0), (2.0, 2.0), (2.0, 1.0), (0.5, 1.0), (0.1, 1.5), (0.0, 0.0)])
    assert ended == 5
    assert stopping.epochs.tolist() == [1, 3]
    # A head that has stopped is better no more, however low its loss.
    assert better == [[True, True], [False, True], [False, True], [False, False], [False, False]]


def test_a_loss_that_is_not_finite_is_never_better():
    stopping = EarlyStopping(np.arange(1), 3, 1)
    ended, better = see_all(stopping, [(np.nan,), (np.nan,), (np.nan,), (np.nan,), (np.nan,)])
    assert ended == 4
    assert not any(of_epoch[0] for of_epoch in better)
    assert stopping.epochs.tolist() == [1]


def test_with_losses_that_fall_it_goes_on():
    assert see_all(EarlyStopping(np.arange(1), 1, 1), [(3.0,), (2.0,), (1.0,)])[0] is None
