"""The store and the commands that workers share."""

import os
import signal
import threading
import time

import pytest

from vllm_mock.shared import Peers, SharedStore


def forked(work) -> int:
    """Run `work` in a forked process; its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def test_what_one_process_writes_all_read():
    store = SharedStore()
    assert store.get("loras") is None
    os.waitpid(forked(lambda: store.update("loras", lambda known: [*(known or []), "a"])), 0)
    assert store.get("loras") == ["a"]
    os.waitpid(forked(lambda: store.update("loras", lambda known: [*known, "b" * 100_000])), 0)
    assert store.get("loras") == ["a", "b" * 100_000]
    store.update("loras", lambda known: known[:1])
    assert store.get("loras") == ["a"]


def test_reading_gives_the_same_object_until_the_section_changes():
    store = SharedStore()
    value = store.update("one", lambda _: {"a": 1})
    store.update("two", lambda _: [1])
    assert store.get("one") is value
    store.update("one", lambda _: {"a": 2})
    assert store.get("one") == {"a": 2}


def test_threads_of_two_processes_that_hold_and_want_two_locks():
    """Their kernel sees a deadlock in that, where none is."""
    store = SharedStore()
    store.counts.give(0, 1)
    failures = os.memfd_create("failures")

    def in_threads() -> None:
        def both(known: int | None) -> int:
            store.counts.take(0, 1, lambda *_: True)
            return (known or 0) + 1

        def repeat(work) -> None:
            try:
                for _ in range(400):
                    work()
            except OSError:
                os.write(failures, b"x")

        works = [lambda: store.update("count", both), lambda: store.counts.take(0, 1, lambda *_: True)]
        threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    for child in [forked(in_threads) for _ in range(3)]:
        os.waitpid(child, 0)
    assert os.fstat(failures).st_size == 0
    assert store.get("count") == 1200
    assert store.counts.read(0, 1) == (2400, 2400)


def test_no_update_is_lost_between_processes_and_threads():
    store = SharedStore()

    def count() -> None:
        for _ in range(200):
            store.update("count", lambda known: (known or 0) + 1)

    def in_threads() -> None:
        threads = [threading.Thread(target=count) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    children = [forked(in_threads) for _ in range(3)]
    seen = []
    while children:
        done, _ = os.waitpid(-1, os.WNOHANG)
        children = [child for child in children if child != done]
        seen.append(store.get("count") or 0)
    assert seen == sorted(seen)
    assert store.get("count") == 1200


def test_a_writer_that_is_killed_blocks_nobody_and_breaks_nothing():
    store = SharedStore()
    for round_ in range(20):

        def write_forever() -> None:
            while True:
                store.update("text", lambda _: "x" * 50_000)

        child = forked(write_forever)
        time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        store.update("round", lambda _, round_=round_: round_)
        assert store.get("round") == round_
        assert set(store.get("text") or "x") == {"x"}


def test_a_change_that_fails_changes_nothing():
    store = SharedStore()
    store.update("one", lambda _: 1)
    with pytest.raises(TypeError):
        store.update("one", lambda _: object())
    assert store.get("one") == 1
    store.update("two", lambda _: 2)
    assert store.get("two") == 2


def test_a_command_reaches_every_worker():
    ranks = [Peers(rank, 3, "test") for rank in range(3)]
    for rank, peers in enumerate(ranks):
        peers.register("add", lambda argument, rank=rank: argument["number"] + rank)
        peers.register("fail", lambda argument, rank=rank: 1 // rank)
    for peers in ranks[:2]:
        peers.listen()
    # The third one does not listen: it is being started.
    assert ranks[1].ask_all("add", {"number": 10}) == {0: 10, 1: 11}
    # A worker that fails is left out; the others' answers come all the same.
    assert ranks[1].ask_others("fail") == {}
    assert Peers(0, 1, "test").ask_others("add") == {}


def test_a_section_may_hold_nothing():
    store = SharedStore()
    assert store.update("one", lambda known: known) is None
    store.update("two", lambda _: 2)
    assert (store.get("one"), store.get("two")) == (None, 2)
