import threading
from contextlib import closing

import pytest

from mapmend.predict.ahead import ahead


def test_items_come_in_order_from_another_thread():
    threads = set()

    def items():
        for number in range(50):
            threads.add(threading.current_thread())
            yield number

    assert list(ahead(items(), 3)) == list(range(50))
    assert threading.current_thread() not in threads


def test_no_more_than_the_depth_is_made_ahead():
    made = []
    more = threading.Event()

    def items():
        for number in range(20):
            made.append(number)
            if len(made) == 5:
                more.set()
            yield number

    with closing(ahead(items(), 3)) as stream:
        assert next(stream) == 0
        assert more.wait(5)
        assert not threading.Event().wait(0.2)
        assert len(made) == 5  # taken, three waiting, one in hand


def test_an_error_comes_where_the_item_would_have_come():
    def items():
        yield 1
        raise OSError("gone")

    stream = ahead(items(), 2)
    assert next(stream) == 1
    with pytest.raises(OSError, match="gone"):
        next(stream)


def test_a_consumer_that_leaves_ends_the_thread():
    before = threading.active_count()
    with closing(ahead(iter(range(10**9)), 2)) as stream:
        next(stream)
    assert threading.active_count() == before
