"""The logs of a recovery from the loss of the majority: who prepares, which log is chosen, what is forced and committed.

What is modelled: voters with a durable generation, term, vote and log, elections and appends as in Raft, commits by
majority of the leader's membership, crashes that lose what was not synced, the plan of a recovery (prepare, compare, force),
its two entries (`recovered`, then the membership of the chosen node alone), growing again, news, and the return of a node.
The network is the worst there is, without a bound: what was ever said (an append, a prepare, its answer, an order to force,
the news) may arrive at any time, any number of times, or never; a node that is dead is one that never acts. An acknowledgement
counts at the moment it is given, since it may arrive before all else, so what is committed here is as much as can be; a vote
is asked for as long as its candidate stands. A leader by force sends its entries before it syncs them; of others a crash takes
nothing that matters, because they may as well act no more.
What is not modelled: time (recovery_leases.py does), snapshots, lost or reverted disks, relays, and a leader that learns of a
higher term from an answer.
"""

from collections.abc import Iterator

from Tests.Models.log_consensus import Consensus
from Tests.Models.log_states import (
    FOLLOWER,
    FORCING,
    IDLE,
    LEADER,
    OVER,
    PREPARING,
    Log,
    Node,
    Plan,
    State,
    common,
    has_both,
    is_majority,
    last_recovered,
    members,
)


class LogModel(Consensus):
    """The model; see the head of this file."""

    def initial(self) -> Iterator[State]:
        """One leads, and some may be behind."""
        bounds = self.bounds
        follower = Node(0, False, bounds.term, bounds.leader, FOLLOWER, (), 0, False, False, -1, -1)
        late = follower._replace(term=1, vote=-1, log=bounds.tail, synced=len(bounds.tail))
        nodes = tuple(late if bounds.behind >> node & 1 else follower for node in range(bounds.alive))
        nodes = nodes[:bounds.leader] + (follower._replace(role=LEADER),) + nodes[bounds.leader + 1:]
        plans = tuple(Plan(IDLE, 0, 0, -1) for _ in self.bounds.plans)
        empty: Log = ()
        yield State(nodes, plans, frozenset(), frozenset(), frozenset(), frozenset(),
                    (empty,) * (len(plans) + 1), frozenset(), 0)

    # Steps.

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """All that may happen next."""
        for index, node in enumerate(state.nodes):
            yield from self.raft_steps(state, index, node)
            yield from self.node_steps(state, index, node)
        yield from self.plan_steps(state)

    def node_steps(self, state: State, index: int, node: Node) -> Iterator[tuple[str, State]]:
        """Crashes, news and return."""
        name = self.names[index]
        if state.crashes < self.bounds.crashes:
            after = self.crash(state, index, node)
            if node.generation > 0 and (after.nodes != state.nodes or after.plans != state.plans):
                yield f"{name} crashes and starts again", after
        if not node.overtaken:
            for generation in range(1, len(state.plans) + 1):
                if not self.newer(state, generation, node.generation):
                    continue
                heard = self.is_recovered(state, generation)
                if not self.rules.news_when_applied:
                    heard = any(plan == generation for plan, _ in state.prepared)
                if heard:
                    changed = node._replace(overtaken=True, role=FOLLOWER, forced=False)
                    yield f"{name} hears of recovery {generation}", self.settle(self.put(state, index, changed))
        elif self.bounds.returns:
            for generation in range(1, len(state.plans) + 1):
                if self.is_recovered(state, generation) and self.newer(state, generation, node.generation):
                    log = () if self.rules.log_set_aside else node.log
                    fresh = Node(generation, False, 0, -1, FOLLOWER, log, len(log), False, False, -1, -1)
                    yield f"{name} returns to recovery {generation}", self.settle(self.put(state, index, fresh))

    def crash(self, state: State, index: int, node: Node) -> State:
        """A node that has lost its memory and goes on with what its disk has."""
        generation, term, vote = node.generation, node.term, node.vote
        if node.former_generation >= 0:
            generation = node.former_generation
        if node.former_term >= 0:
            term, vote = node.former_term, -1
        changed = Node(generation, node.overtaken, term, vote, FOLLOWER, node.log[:node.synced], node.synced,
                       False, False, -1, -1)
        after = self.put(state, index, changed)._replace(crashes=state.crashes + 1)
        plans = list(state.plans)
        for place, plan in enumerate(plans):
            if self.bounds.plans[place][0] == index and plan.phase == PREPARING and self.rules.new_plan_after_restart:
                plans[place] = plan._replace(phase=OVER)
        return self.settle(after._replace(plans=tuple(plans)))

    def plan_steps(self, state: State) -> Iterator[tuple[str, State]]:
        """What the coordinators of recoveries do, and whom they ask."""
        for place, plan in enumerate(state.plans):
            coordinator, _ = self.bounds.plans[place]
            number = place + 1
            if plan.phase == IDLE:
                if place == 0 or state.plans[place - 1].phase != IDLE:
                    yield from self.start(state, number, coordinator)
                continue
            for index, node in enumerate(state.nodes):
                if not self.survivors(number) >> index & 1:
                    continue
                if node.overtaken and not (self.rules.overtaken_may_recover and plan.number > self.heard_number(state, node)):
                    continue
                if node.generation != number:
                    if not self.rules.compare_after and plan.phase == PREPARING:
                        after = self.answer(state, number, index, node)
                        if after != state:
                            yield f"{self.names[index]} tells {number} of its log before it prepares", after
                    if plan.number > self.number(state, node.generation) and (
                            not self.rules.same_base or last_recovered(node.log) == plan.base):
                        yield f"{self.names[index]} prepares for {number}", self.prepare(state, number, index, node)
                elif plan.phase == PREPARING or not self.rules.new_plan_after_restart:
                    after = self.answer(state, number, index, node)
                    if after != state:
                        yield f"{self.names[index]} answers {number} again", after
            yield from self.force_steps(state, number, plan)

    def start(self, state: State, number: int, coordinator: int) -> Iterator[tuple[str, State]]:
        """An operator orders a recovery at the coordinator."""
        node = state.nodes[coordinator]
        if node.overtaken and not self.rules.overtaken_may_recover:
            return
        able = self.survivors(number)
        if self.rules.prepared_are_no_majority:
            for index, peer in enumerate(state.nodes):
                if peer.generation != last_recovered(node.log) and able >> index & 1:
                    able &= ~(1 << index)
        if is_majority(able, members(node.log, self.everyone)):
            return
        plan = Plan(PREPARING, self.heard_number(state, node) + 1, last_recovered(node.log), -1)
        plans = state.plans[:number - 1] + (plan,) + state.plans[number:]
        after = self.prepare(state._replace(plans=plans), number, coordinator, node)
        yield f"an operator at {self.names[coordinator]} orders recovery {number}", after

    def prepare(self, state: State, number: int, index: int, node: Node) -> State:
        """A node that has left its generation for that of a plan, and has answered."""
        former = -1 if self.rules.generation_synced else node.generation
        changed = node._replace(generation=number, overtaken=False, role=FOLLOWER, forced=False, synced=len(node.log),
                                former_generation=former)
        after = self.put(state, index, changed)
        after = after._replace(prepared=after.prepared | {(number, node.log)})
        return self.settle(self.answer(after, number, index, changed))

    def answer(self, state: State, number: int, index: int, node: Node) -> State:
        """The state in which a node's answer to a plan is on its way."""
        word = (number, index, node.log[-1][0] if node.log else 0, len(node.log))
        return state._replace(answers=state.answers | {word})

    def force_steps(self, state: State, number: int, plan: Plan) -> Iterator[tuple[str, State]]:
        """The choice, and the order to the chosen one."""
        if plan.phase == PREPARING or (plan.phase == FORCING and not self.rules.new_plan_after_restart):
            for chosen in self.choices(state, number):
                plans = state.plans[:number - 1] + (plan._replace(phase=FORCING, chosen=chosen),) + state.plans[number:]
                after = state._replace(plans=plans)
                if self.rules.new_plan_after_restart:
                    after = after._replace(answers=frozenset(word for word in state.answers if word[0] != number))
                if after != state:
                    yield f"recovery {number} chooses {self.names[chosen]}", after
        if plan.phase != FORCING:
            return
        node = state.nodes[plan.chosen]
        if node.generation != number or node.overtaken or node.role == LEADER:
            return
        refused = {
            "both": has_both(node.log, number),
            "recovered": last_recovered(node.log) == number,
            "applied": node.applied,
        }[self.rules.force_until]
        if refused:
            return
        former = -1 if self.rules.term_synced else node.term
        changed = node._replace(term=node.term + 1, vote=plan.chosen, role=LEADER, forced=True, former_term=former)
        after = self.put(state, plan.chosen, changed)
        name = self.names[plan.chosen]
        yield f"{name} leads by force in term {changed.term}", self.settle(after)

    def choices(self, state: State, number: int) -> set[int]:
        """Whom the coordinator may choose, as the answers say that it may have got."""
        named = [index for index in range(self.bounds.voters) if self.survivors(number) >> index & 1]
        words: dict[int, set[tuple[int, int]]] = {}
        for plan, index, term, length in state.answers:
            if plan == number:
                words.setdefault(index, set()).add((term, length))
        if not self.rules.compare_after and any(state.nodes[index].generation != number for index in named
                                                if index < len(state.nodes)):
            return set()
        if self.rules.all_prepared and len(words) < len(named):
            return set()
        best: set[int] = set()
        options: list[dict[int, tuple[int, int]]] = [{}]
        for index, several in words.items():
            options = [{**option, index: word} for option in options for word in several]
        for option in options:
            best.add(max(option, key=lambda index: self.rank(option[index], index)))
        return best

    def rank(self, word: tuple[int, int], index: int) -> tuple[int, int, int]:
        """What the longest log is measured by; the lower id among equals."""
        return (word[0] if self.rules.compare_terms else 0, word[1], -index)

    # Promises.

    def broken(self, state: State) -> str | None:
        """The promise that a state breaks."""
        for generation, log in enumerate(state.history):
            if log[:1] == ((0, "two histories", 0),):
                return f"two histories in generation {generation}"
        if (wrong := self.mismatch(state)) is not None:
            return wrong
        for index, node in enumerate(state.nodes):
            if node.overtaken and not any(
                    self.is_recovered(state, generation) for generation in range(1, len(state.plans) + 1)):
                return f"{self.names[index]} is overtaken by a recovery that was never committed"
            if node.generation > 0 and self.foreign(state, node):
                return f"{self.names[index]} mixes two recoveries"
        for plan, log in state.prepared:
            recovered = state.history[plan]
            if not self.is_recovered(state, plan):
                continue
            base = state.history[state.plans[plan - 1].base]
            kept = common(log, base)
            if common(log[:kept], recovered) < kept:
                return f"recovery {plan} drops what was committed and a survivor had when it prepared"
            if not self.rules.sets_void and len(base) > common(base, recovered):
                return f"recovery {plan} promotes a copy that had left"
        return None

    def mismatch(self, state: State) -> str | None:
        """Two logs of one generation that have an entry of one term at one place, and differ before it."""
        for place, one in enumerate(state.nodes):
            for other in state.nodes[place + 1:]:
                if one.generation != other.generation or one.log == other.log:
                    continue
                length = min(len(one.log), len(other.log))
                while length > 0 and one.log[length - 1][0] != other.log[length - 1][0]:
                    length -= 1
                if one.log[:length] != other.log[:length]:
                    return f"two logs of generation {one.generation} differ below an entry of one term"
        return None

    def foreign(self, state: State, node: Node) -> bool:
        """Whether a log holds a recovery that its generation does not stand on."""
        chain = {node.generation}
        generation = node.generation
        while generation > 0:
            generation = state.plans[generation - 1].base
            chain.add(generation)
        return any(kind == "recovered" and detail not in chain for _, kind, detail in node.log)

    def reaches(self, state: State) -> bool:
        """Both entries are committed, or a plan is refused, or who has not left the first generation could lead.

        After the last plan the operator has no other, which is a bound of the model and nobody's fault.
        """
        if any(has_both(log, generation) for generation, log in enumerate(state.history) if generation > 0):
            return True
        if any(plan.phase == PREPARING and self.is_refused(state, place) for place, plan in enumerate(state.plans, 1)):
            return True
        able = 0
        for index, node in enumerate(state.nodes):
            if node.generation == 0 and not node.overtaken:
                able |= 1 << index
        return is_majority(able, self.everyone) or state.plans[-1].phase == OVER

    def is_refused(self, state: State, number: int) -> bool:
        """Whether a survivor that a plan names will never prepare for it."""
        plan = state.plans[number - 1]
        for index, node in enumerate(state.nodes):
            if self.survivors(number) >> index & 1 and node.generation != number and (
                    (node.overtaken and not self.rules.overtaken_may_recover)
                    or self.heard_number(state, node) >= plan.number
                    or last_recovered(node.log) != plan.base):
                return True
        return False
