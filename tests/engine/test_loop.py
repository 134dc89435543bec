"""A good end, whatever ends it."""

import os
import signal

import pytest

from gan_vkd.engine.loop import Interruption

HANG_UP = getattr(signal, "SIGHUP", None)


@pytest.mark.skipif(HANG_UP is None, reason="the system has no SIGHUP")
def test_a_terminal_that_closes_is_noted_and_may_say_so_twice(signals_of_a_terminal):  # CASES 27
    before = signal.getsignal(HANG_UP)
    with Interruption() as interruption:
        os.kill(os.getpid(), HANG_UP)
        assert interruption.signal == HANG_UP
        os.kill(os.getpid(), HANG_UP)  # from the shell and from the system
    assert signal.getsignal(HANG_UP) is before


@pytest.mark.skipif(HANG_UP is None, reason="the system has no SIGHUP")
def test_what_is_ignored_stays_so():  # CASES 27: nohup
    before = signal.signal(HANG_UP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), HANG_UP)
            assert interruption.signal == 0
        assert signal.getsignal(HANG_UP) is signal.SIG_IGN
    finally:
        signal.signal(HANG_UP, before)
