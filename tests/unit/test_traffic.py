"""Moments in which nobody uses an instance: everybody else is kept out, and nobody for long."""

from __future__ import annotations

import threading

from stateless_rag.stores.duckdb.traffic import Traffic


def test_a_halt_keeps_others_out_until_it_ends() -> None:
    traffic, entered = Traffic(), threading.Event()

    def use() -> None:
        with traffic.using():
            entered.set()

    user = threading.Thread(target=use)
    with traffic.halted(1.0) as alone:
        assert alone
        user.start()
        assert not entered.wait(0.05)
    assert entered.wait(10)
    user.join(10)


def test_a_halt_waits_for_a_use_that_has_begun() -> None:
    traffic, begun, end = Traffic(), threading.Event(), threading.Event()

    def use() -> None:
        with traffic.using():
            begun.set()
            end.wait(10)

    user = threading.Thread(target=use)
    user.start()
    assert begun.wait(10)
    threading.Timer(0.05, end.set).start()
    with traffic.halted(10) as alone:
        assert alone and end.is_set()
    user.join(10)


def test_a_halt_that_is_given_up_keeps_nobody_out() -> None:
    traffic = Traffic()
    with traffic.using(), traffic.halted(0.01) as alone:
        assert not alone
        with traffic.using():  # would wait for ever for itself
            pass
    with traffic.halted(0.01) as alone:
        assert alone
