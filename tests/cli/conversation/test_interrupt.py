"""The first Ctrl-C is held back, the second is not."""

from __future__ import annotations

import os
import select
import signal

import pytest

from port42_cli.conversation.interrupt import Interrupt


def pressed():
    os.kill(os.getpid(), signal.SIGINT)


def readable(interrupt):
    return bool(select.select([interrupt], [], [], 0)[0])


def test_the_first_ctrl_c_is_readable_and_the_second_raises():
    with Interrupt() as interrupt:
        assert not readable(interrupt)
        pressed()
        assert readable(interrupt)
        interrupt.take()
        assert not readable(interrupt)
        with pytest.raises(KeyboardInterrupt):
            pressed()
    with pytest.raises(KeyboardInterrupt):
        pressed()


def test_at_once_even_the_first_ctrl_c_raises():
    with Interrupt() as interrupt, pytest.raises(KeyboardInterrupt), interrupt.at_once():
        pressed()


def test_an_ignored_sigint_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            pressed()
            assert not readable(interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
