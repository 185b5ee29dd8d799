"""The checker finds what no register can have answered, and nothing else."""
import itertools
import os
import random
import tempfile
import unittest
from dataclasses import replace

from chaos.workload.linearizability import ABSENT, VALUE, Operation, Value, check, read, write


def put(value: str, called: float, returned: float | None, key: str = "k") -> Operation:
    """A put that was done, or whose fate nobody knows."""
    return Operation(key, "put", called, returned, value=value)


def get(seen: Value, called: float, returned: float, key: str = "k") -> Operation:
    """A get, and what it was told."""
    return Operation(key, "get", called, returned, seen=seen)


def swap(old: Value, new: str, called: float, returned: float | None, done: bool = True, seen: Value = None) -> Operation:
    """A put that expects something."""
    return Operation("k", "put", called, returned, value=new, expected=(ABSENT, None) if old is None else (VALUE, old),
                     done=done, seen=seen)


def delete(called: float, returned: float | None, done: bool = True) -> Operation:
    """A delete of whatever is there."""
    return Operation("k", "delete", called, returned, done=done)


LINEARIZABLE: list[tuple[str, list[Operation]]] = [
    ("nothing", []),
    ("a read before any put", [get(None, 0, 1), put("a", 2, 3), get("a", 4, 5)]),
    ("reads beside a put see both sides of it", [put("a", 0, 10), get(None, 1, 2), get("a", 3, 4)]),
    ("two puts beside each other, in either order", [put("a", 0, 10), put("b", 0, 10), get("a", 11, 12)]),
    ("two puts beside each other, both seen", [put("a", 0, 10), put("b", 0, 10), get("b", 1, 2), get("a", 3, 12)]),
    ("a put of unknown fate that was done", [put("a", 0, 1), put("b", 2, None), get("b", 5, 6)]),
    ("a put of unknown fate that was done late", [put("a", 0, 1), put("b", 2, None), get("a", 5, 6), get("b", 7, 8)]),
    ("a put of unknown fate that was never done", [put("a", 0, 1), put("b", 2, None), get("a", 5, 6), get("a", 7, 8)]),
    ("one of two takes what both wanted", [put("a", 0, 1), swap("a", "b", 2, 5), swap("a", "c", 2, 5, False, "b"),
                                           get("b", 6, 7)]),
    ("a chain", [swap(None, "a", 0, 9), swap("a", "b", 0, 9), swap("b", "c", 0, 9), get("c", 10, 11)]),
    ("a compare of unknown fate explains what is there", [put("a", 0, 1), swap("a", "b", 2, None), swap("b", "c", 3, 4)]),
    ("a delete needs what a put of unknown fate put", [put("a", 0, None), delete(1, 2), get(None, 3, 4)]),
    ("a delete of nothing", [delete(0, 1, done=False), put("a", 2, 3), delete(4, 5), get(None, 6, 7)]),
    ("each key by itself", [put("a", 0, 1, "x"), get(None, 2, 3, "y"), put("b", 4, 5, "y"), get("a", 6, 7, "x")]),
    ("many of unknown fate, none of them seen",
     [put("a", 0, 1)] + [put(f"u{number}", 2, None) for number in range(200)] + [get("a", 3 + n, 3.5 + n) for n in range(50)]),
    ("many of unknown fate, each seen once", [put(f"u{number}", 0, None) for number in range(30)]
     + [get(f"u{number}", 1 + number, 1.5 + number) for number in range(30)]),
]

NOT_LINEARIZABLE: list[tuple[str, list[Operation]]] = [
    ("a stale read on another node", [put("a", 0, 1), put("b", 2, 3), get("b", 4, 5), get("a", 6, 7)]),
    ("an old value after an acknowledged put", [put("a", 0, 1), put("b", 2, 3), get("a", 4, 5)]),
    ("nothing after an acknowledged put", [put("a", 0, 1), get(None, 2, 3)]),
    ("what nobody put", [put("a", 0, 1), get("b", 2, 3)]),
    ("from the future", [get("a", 0, 1), put("a", 2, 3)]),
    ("two reads beside a put turn it back", [put("a", 0, 1), put("b", 2, 20), get("b", 3, 4), get("a", 5, 6)]),
    ("both took what only one can", [put("a", 0, 1), swap("a", "b", 2, 5), swap("a", "c", 2, 5)]),
    ("a refusal that names what was not there", [put("a", 0, 1), swap("x", "b", 2, 3, False, "c")]),
    ("a refusal although it fitted", [put("a", 0, 1), swap("a", "b", 2, 3, False, "a")]),
    ("an unknown put is done and undone", [put("a", 0, 1), put("b", 2, None), get("b", 3, 4), get("a", 5, 6)]),
    ("a deleted value comes back", [put("a", 0, 1), delete(2, 3), get("a", 4, 5)]),
    ("two deletes of one value", [put("a", 0, 1), delete(2, 5), delete(2, 5)]),
    ("created twice", [swap(None, "a", 0, 5), swap(None, "b", 0, 5)]),
]


class Known(unittest.TestCase):
    def test_what_a_register_can_answer_passes(self) -> None:
        for name, history in LINEARIZABLE:
            with self.subTest(name):
                self.assertIsNone(check(history))

    def test_what_it_cannot_is_found(self) -> None:
        for name, history in NOT_LINEARIZABLE:
            with self.subTest(name):
                self.assertIsNotNone(check(history))

    def test_a_fault_names_the_answer_and_what_could_have_been(self) -> None:
        fault = check(NOT_LINEARIZABLE[0][1])
        self.assertRegex(str(fault), r"6\.0000 to 7\.0000 somebody: get k: is 'a'\n  although it can only have been \['b'\]")

    def test_a_history_is_read_as_it_was_written(self) -> None:
        history = LINEARIZABLE[8][1] + [put("u", 8, None)]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "history")
            write(path, history)
            self.assertEqual(read(path), history)


class Register:
    """A register that many clients ask at once; with `stale` some reads are answered from a copy that is behind."""

    def __init__(self, chance: random.Random, stale: bool = False) -> None:
        self.chance, self.stale = chance, stale
        self.value: Value = None
        self.former: Value = None

    def history(self, count: int, clients: int) -> list[Operation]:
        """Each client asks one thing after the other; each takes effect at an instant between its call and its return."""
        free, spans = [0.0] * clients, []
        for _ in range(count):
            client = min(range(clients), key=lambda client: free[client])
            called = free[client] + self.chance.random() * 0.2
            effect = called + self.chance.random()
            free[client] = effect + self.chance.random()
            spans.append((effect, called, free[client], client))
        return [self.perform(f"v{number}", *span) for number, span in enumerate(sorted(spans))]

    def perform(self, fresh: str, effect: float, called: float, returned: float, client: int) -> Operation:
        """One operation, when it takes effect."""
        kind = self.chance.choice(["get", "get", "put", "swap", "delete"])
        end = None if kind != "get" and self.chance.random() < 0.1 else returned
        if end is None and self.chance.random() < 0.5:
            return Operation("k", "put", called, None, value=fresh)  # was never done
        before = self.value
        if kind == "get":
            seen = self.former if self.stale and self.chance.random() < 0.05 else before
            return Operation("k", "get", called, end, seen=seen)
        expected = None
        if kind != "put":
            guess = self.chance.choice([before, self.former])
            expected = (ABSENT, None) if guess is None else (VALUE, guess)
        if kind == "delete" and guess is not None:
            operation = Operation("k", "delete", called, end, expected=expected)
        else:
            operation = Operation("k", "put", called, end, value=fresh, expected=expected)
        if operation.fits(before):
            self.former, self.value = before, operation.value
            return operation
        return replace(operation, done=end is None, seen=None if end is None else before)


class Drawn(unittest.TestCase):
    def test_a_real_register_passes_under_any_seed(self) -> None:
        for seed in range(40):
            with self.subTest(seed):
                self.assertIsNone(check(Register(random.Random(seed)).history(300, clients=6)))

    def test_reads_from_a_copy_that_is_behind_are_found(self) -> None:
        """A read that a node answers from what it has applied, without asking a majority."""
        found = sum(
            check(Register(random.Random(seed), stale=True).history(400, clients=4)) is not None for seed in range(20))
        self.assertGreater(found, 15)

    def test_it_says_what_trying_every_order_says(self) -> None:
        """Small histories with drawn answers, most of them wrong."""
        counts = {True: 0, False: 0}
        for seed in range(3000):
            chance = random.Random(seed)
            history = [self.draw(chance) for _ in range(chance.randint(2, 5))]
            wanted = by_trying(history)
            counts[wanted] += 1
            with self.subTest(seed):
                self.assertEqual(check(history) is None, wanted, "\n".join(map(str, history)))
        self.assertGreater(min(counts.values()), 200)

    @staticmethod
    def draw(chance: random.Random) -> Operation:
        """Anything; values come twice too."""
        called = chance.randint(0, 6)
        returned = None if chance.random() < 0.2 else called + chance.randint(1, 5)
        value, other = chance.choice("ab"), chance.choice(["a", "b", None])
        kind = chance.choice(["get", "put", "put", "swap", "delete"])
        if kind == "get":
            return Operation("k", "get", called, called + 2, seen=other)
        done = returned is None or chance.random() < 0.7
        expected = None
        if kind == "swap":
            expected = (ABSENT, None) if other is None else (VALUE, other)
        if kind == "delete":
            return Operation("k", "delete", called, returned, done=done)
        return Operation("k", "put", called, returned, value=value, expected=expected, done=done,
                         seen=None if done else chance.choice(["a", "b", None]))


def by_trying(history: list[Operation]) -> bool:
    """Every order that respects who returned before who was called, with each choice of what never happened."""
    optional = [operation for operation in history if operation.returned is None]
    owed = [operation for operation in history if operation.returned is not None]
    for count in range(len(optional) + 1):
        for chosen in itertools.combinations(optional, count):
            for order in itertools.permutations(owed + list(chosen)):
                if respects_time(order) and plays(order):
                    return True
    return False


def respects_time(order: tuple[Operation, ...]) -> bool:
    """Whether nobody takes effect after one that was called when it had returned."""
    return all(
        second.returned is None or second.returned >= first.called
        for first, second in itertools.combinations(order, 2))


def plays(order: tuple[Operation, ...]) -> bool:
    """Whether a register answers so in this order."""
    state: Value = None
    for operation in order:
        may, state = operation.apply(state)
        if not may:
            return False
    return True


if __name__ == "__main__":
    unittest.main()
