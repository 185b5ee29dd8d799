"""The leases of a recovery from the loss of the majority: who may still be running a group while the new side starts it.

What is modelled: voters with a durable generation, one group with one owner in each generation, renewals and answers with
their ages, the preparing of survivors, the wait, the order to force, assignment on the new side, its growing membership, news,
and crashes. Time goes in steps that all nodes count alike; a lease lasts DURATION of them from the sending of a renewal that
a majority answered. Whatever was sent may arrive at any time, in any order, several times, or never. A prepare reaches a
survivor at any time, also when its plan is long over. Who crashes forgets what it heard, but its guard keeps the lease.
What is not modelled: logs (recovery_logs.py does), clocks that differ (the T of rule L6 covers them), pauses, moves of the group
within one generation. That a survivor's answer takes no time to the coordinator only shortens the wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from Tests.Models.log_states import is_majority

# In steps of time: how long a lease lasts, and how long the new side waits.
DURATION = 2
WAIT = 2

IDLE, PREPARING, RECOVERED, OVER = 0, 1, 2, 3


class Holder(NamedTuple):
    """One node; any may hold the group."""
    generation: int
    overtaken: bool
    # Has applied `recovered` of its generation.
    applied: bool
    # The age of its lease, where DURATION is none, and in which generation it was given.
    age: int
    leased: int
    # How long ago the renewal was sent that each voter answered last.
    heard: tuple[int, ...]
    # What a crash takes it back to where a weaker rule did not sync it: -1 is nothing.
    former: int


class Attempt(NamedTuple):
    """A plan."""
    phase: int
    number: int
    base: int
    # Who has answered that it prepared, as bits.
    answered: int
    # The time since all had.
    waited: int
    # Who owns the group in its generation, or -1.
    owner: int
    # The membership is all survivors, no longer the chosen one alone.
    grown: bool


class State(NamedTuple):
    """Everything."""
    nodes: tuple[Holder, ...]
    plans: tuple[Attempt, ...]
    # (holder, its generation, age)
    renewals: frozenset[tuple[int, int, int]]
    # (voter, holder, the generation of the renewal, age)
    answers: frozenset[tuple[int, int, int, int]]
    # Watched: who ever got the news, and for each older generation and plan the time since those whom the plan calls dead
    # were a majority there by themselves, alive and without the news.
    told: int
    since: tuple[int, ...]


@dataclass(frozen=True)
class LeaseRules:
    """The rules; each can be weakened."""
    # Renewals and answers count within one generation only.
    renewals_in_generation: bool = True
    # The new side waits since the last survivor prepared.
    waits: int = WAIT
    generation_synced: bool = True
    # All named survivors must have prepared.
    all_prepared: bool = True
    # Who prepares has no lease any more.
    prepare_ends_lease: bool = True
    # Who gets the news has no lease from that instant, answers nobody, and remembers it over a crash.
    news_ends_lease: bool = True
    news_silences: bool = True
    news_synced: bool = True
    ids_are_ordered: bool = True
    # Groups start by themselves if all dead are "fenced"; if those that are not are fewer than "two"; if those that are not
    # are no majority in the membership that the survivors have "known" last.
    start_if: str = "fenced"


@dataclass(frozen=True)
class LeaseBounds:
    """What is walked through: bits name nodes."""
    voters: int
    alive: int
    # Coordinator, dead, and who of the dead was fenced, of each plan.
    plans: tuple[tuple[int, int, int], ...]
    # Start although unproven.
    override: bool = False
    # The membership of the old side, where that has gone on without the survivors.
    old_members: int = 0
    first_owner: int = 0
    crash: bool = True


class LeaseModel:
    """The model; see the head of this file."""

    def __init__(self, rules: LeaseRules, bounds: LeaseBounds) -> None:
        self.rules = rules
        self.bounds = bounds
        self.everyone = (1 << bounds.voters) - 1
        self.names = "ABCDE"
        self.none = (DURATION,) * bounds.voters

    def initial(self) -> Iterator[State]:
        """The group runs on its first owner, whose lease is fresh."""
        node = Holder(0, False, True, DURATION, 0, self.none, -1)
        first = node._replace(age=0, heard=(0,) * self.bounds.voters)
        nodes = tuple(first if index == self.bounds.first_owner else node for index in range(self.bounds.alive))
        plans = tuple(Attempt(IDLE, 0, 0, 0, 0, -1, False) for _ in self.bounds.plans)
        pairs = (len(plans) + 1) * len(plans)
        state = State(nodes, plans, frozenset({(self.bounds.first_owner, 0, 0)}), frozenset(), 0, (DURATION,) * pairs)
        yield self.watch(state, 0)

    def number(self, state: State, generation: int) -> int:
        """The number of a generation."""
        return 1 if generation == 0 else state.plans[generation - 1].number

    def newer(self, state: State, one: int, other: int) -> bool:
        """Whether a generation ends another."""
        left, right = self.number(state, one), self.number(state, other)
        return left > right or (self.rules.ids_are_ordered and left == right and one > other)

    def survivors(self, plan: int) -> int:
        """Those whom a plan does not call dead."""
        return self.everyone & ~self.bounds.plans[plan - 1][1]

    def chosen(self, plan: int) -> int:
        """Whose log the plan takes: here any will do."""
        able = self.survivors(plan)
        return (able & -able).bit_length() - 1

    def members(self, state: State, generation: int) -> int:
        """The voters of a generation."""
        if generation == 0:
            return self.bounds.old_members or self.everyone
        if state.plans[generation - 1].grown:
            return self.survivors(generation)
        return 1 << self.chosen(generation)

    def owner(self, state: State, generation: int) -> int:
        """Who owns the group in a generation."""
        return self.bounds.first_owner if generation == 0 else state.plans[generation - 1].owner

    def holds(self, state: State, index: int) -> bool:
        """Whether a node runs the group."""
        node = state.nodes[index]
        return node.age < DURATION and self.owner(state, node.leased) == index

    def put(self, state: State, index: int, node: Holder) -> State:
        """The state with one node replaced."""
        return state._replace(nodes=state.nodes[:index] + (node,) + state.nodes[index + 1:])

    def put_plan(self, state: State, plan: int, attempt: Attempt) -> State:
        """The state with one plan replaced."""
        return state._replace(plans=state.plans[:plan - 1] + (attempt,) + state.plans[plan:])

    def watch(self, state: State, passed: int) -> State:
        """Counts on for each older generation and plan since when the dead are no majority there."""
        if not self.bounds.override:
            return state
        since = list(state.since)
        count = len(state.plans)
        for generation in range(count + 1):
            members = self.members(state, generation)
            alive = 0
            for index, node in enumerate(state.nodes):
                if node.generation == generation and not state.told >> index & 1:
                    alive |= 1 << index
            for plan in range(1, count + 1):
                place = generation * count + plan - 1
                if is_majority(alive & self.bounds.plans[plan - 1][1], members):
                    since[place] = 0
                else:
                    since[place] = min(DURATION, since[place] + passed)
        return state._replace(since=tuple(since))

    # Steps.

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """All that may happen next."""
        yield "time passes", self.watch(self.tick(state), 1)
        for index, node in enumerate(state.nodes):
            for name, after in self.node_steps(state, index, node):
                yield f"{self.names[index]} {name}", self.watch(after, 0)
        for plan, attempt in enumerate(state.plans, 1):
            for name, after in self.plan_steps(state, plan, attempt):
                yield name, self.watch(after, 0)

    def tick(self, state: State) -> State:
        """One step of time; who owns the group sends a renewal."""
        nodes = []
        renewals = {(holder, generation, age + 1) for holder, generation, age in state.renewals if age + 1 < DURATION}
        for index, node in enumerate(state.nodes):
            heard = tuple(min(DURATION, age + 1) for age in node.heard)
            changed = node._replace(age=min(DURATION, node.age + 1), heard=heard)
            if not node.overtaken and self.owner(state, node.generation) == index:
                renewals.add((index, node.generation, 0))
                changed = self.hear(state, changed, index, 0)
            nodes.append(changed)
        plans = []
        for plan, attempt in enumerate(state.plans, 1):
            counts = attempt.phase == PREPARING and self.all_answered(plan, attempt)
            plans.append(attempt._replace(waited=min(WAIT, attempt.waited + 1)) if counts else attempt)
        answers = {(voter, holder, generation, age + 1)
                   for voter, holder, generation, age in state.answers if age + 1 < DURATION}
        return state._replace(
            nodes=tuple(nodes), plans=tuple(plans), renewals=frozenset(renewals), answers=frozenset(answers))

    def all_answered(self, plan: int, attempt: Attempt) -> bool:
        """Whether enough survivors have prepared."""
        if not self.rules.all_prepared:
            return bool(attempt.answered >> self.chosen(plan) & 1)
        return attempt.answered == self.survivors(plan)

    def node_steps(self, state: State, index: int, node: Holder) -> Iterator[tuple[str, State]]:
        """Answers, news and crashes of one node."""
        bit = 1 << index
        silent = node.overtaken and self.rules.news_silences
        for holder, generation, age in state.renewals:
            same = node.generation == generation or not self.rules.renewals_in_generation
            word = (index, holder, generation, age)
            if holder == index or silent or not same or not self.members(state, generation) & bit:
                continue
            # An answer that is on its way, or tells the holder nothing new, is not given again.
            if word not in state.answers and state.nodes[holder].heard[index] > age:
                yield f"answers {self.names[holder]}", state._replace(answers=state.answers | {word})
        for word in state.answers:
            voter, holder, generation, age = word
            if holder == index:
                after = state._replace(answers=state.answers - {word})
                if not node.overtaken and node.generation == generation and age < node.heard[voter]:
                    after = self.put(after, index, self.hear(state, node, voter, age))
                    yield f"gets the answer of {self.names[voter]}", after
        for plan, attempt in enumerate(state.plans, 1):
            if attempt.phase != RECOVERED:
                continue
            knows = any(peer.generation == plan and peer.applied for peer in state.nodes)
            if knows and not node.overtaken and self.newer(state, plan, node.generation):
                kept = node.age if not self.rules.news_ends_lease else DURATION
                former = -1 if self.rules.news_synced else -2
                changed = node._replace(overtaken=True, age=kept, heard=self.none, former=former)
                yield f"hears of recovery {plan}", self.put(state, index, changed)._replace(told=state.told | bit)
            if node.generation == plan and not node.applied and not node.overtaken:
                yield f"applies recovery {plan}", self.put(state, index, node._replace(applied=True))
        if self.bounds.crash:
            after = self.crash(state, index, node)
            if after != state:
                yield "crashes and starts again", after

    def hear(self, state: State, node: Holder, voter: int, age: int) -> Holder:
        """A node that knows of an answer to a renewal of that age: its lease is as old as the youngest that a majority answered."""
        heard = node.heard[:voter] + (age,) + node.heard[voter + 1:]
        members = self.members(state, node.generation)
        for lease in range(DURATION):
            answered = 0
            for index, known in enumerate(heard):
                if known <= lease:
                    answered |= 1 << index
            if is_majority(answered, members):
                if node.leased != node.generation or lease < node.age:
                    return node._replace(heard=heard, age=lease, leased=node.generation)
                break
        return node._replace(heard=heard)

    def crash(self, state: State, index: int, node: Holder) -> State:
        """A node that has lost its memory; its guard keeps the lease."""
        generation, overtaken, applied = node.generation, node.overtaken, node.applied
        if node.former >= 0:
            generation, applied = node.former, node.former == 0
        elif node.former == -2:
            overtaken = False
        after = self.put(state, index, node._replace(
            generation=generation, overtaken=overtaken, applied=applied, heard=self.none, former=-1))
        for plan, attempt in enumerate(state.plans, 1):
            if attempt.phase == PREPARING and self.bounds.plans[plan - 1][0] == index:
                after = self.put_plan(after, plan, attempt._replace(phase=OVER))
        return after

    def plan_steps(self, state: State, plan: int, attempt: Attempt) -> Iterator[tuple[str, State]]:
        """What the coordinator does, and whom it asks."""
        coordinator = self.bounds.plans[plan - 1][0]
        if attempt.phase == IDLE:
            node = state.nodes[coordinator]
            if not node.overtaken:
                begun = attempt._replace(
                    phase=PREPARING, number=self.number(state, node.generation) + 1, base=node.generation)
                yield (f"an operator at {self.names[coordinator]} orders recovery {plan}",
                       self.prepare(self.put_plan(state, plan, begun), plan, coordinator))
            return
        for index, node in enumerate(state.nodes):
            if self.survivors(plan) >> index & 1 and not node.overtaken and node.generation != plan \
                    and attempt.number > self.number(state, node.generation):
                yield f"{self.names[index]} prepares for {plan}", self.prepare(state, plan, index)
        chosen = self.chosen(plan)
        node = state.nodes[chosen]
        ready = attempt.phase == PREPARING and self.all_answered(plan, attempt) and attempt.waited >= self.rules.waits
        if ready and node.generation == plan and not node.overtaken:
            after = self.put_plan(state, plan, attempt._replace(phase=RECOVERED))
            yield f"recovery {plan} is forced at {self.names[chosen]}", self.put(after, chosen, node._replace(applied=True))
        if attempt.phase == RECOVERED:
            yield from self.serve_steps(state, plan, attempt)

    def serve_steps(self, state: State, plan: int, attempt: Attempt) -> Iterator[tuple[str, State]]:
        """What the new side does once it has recovered."""
        able = [index for index, node in enumerate(state.nodes)
                if node.generation == plan and node.applied and not node.overtaken]
        if not attempt.grown and len(able) > 1:
            yield f"recovery {plan} gives all survivors a vote", self.put_plan(state, plan, attempt._replace(grown=True))
        if attempt.owner < 0 and self.may_start(plan):
            for index in able:
                after = self.put_plan(state, plan, attempt._replace(owner=index))
                after = self.put(after, index, self.hear(after, state.nodes[index], index, 0))
                after = after._replace(renewals=after.renewals | {(index, plan, 0)})
                yield f"recovery {plan} gives the group to {self.names[index]}", after

    def may_start(self, plan: int) -> bool:
        """Whether groups may start without a person's word that it is unproven."""
        if self.bounds.override:
            return True
        _, dead, fenced = self.bounds.plans[plan - 1]
        signed = dead & ~fenced
        if self.rules.start_if == "fenced":
            return signed == 0
        if self.rules.start_if == "two":
            return signed.bit_count() < 2
        return not is_majority(signed, self.everyone)

    def prepare(self, state: State, plan: int, index: int) -> State:
        """A survivor that has left its generation and has said so."""
        node = state.nodes[index]
        former = -1 if self.rules.generation_synced else node.generation
        age = DURATION if self.rules.prepare_ends_lease else node.age
        after = self.put(state, index, Holder(plan, False, False, age, node.leased, self.none, former))
        attempt = after.plans[plan - 1]
        return self.put_plan(after, plan, attempt._replace(answered=attempt.answered | 1 << index))

    # Promises.

    def broken(self, state: State) -> str | None:
        """The promise that a state breaks."""
        holding = [index for index in range(len(state.nodes)) if self.holds(state, index)]
        for index in holding:
            if state.told >> index & 1:
                return f"{self.names[index]} holds a lease after the news"
        for place, one in enumerate(holding):
            for other in holding[place + 1:]:
                left, right = state.nodes[one].leased, state.nodes[other].leased
                names = f"{self.names[one]} and {self.names[other]}"
                if not self.bounds.override:
                    return f"{names} both hold the group"
                if not self.newer(state, left, right) and not self.newer(state, right, left):
                    return f"{names} both hold the group, and no message ends it"
                older, plan = (left, right) if self.newer(state, right, left) else (right, left)
                if state.since[older * len(state.plans) + plan - 1] >= DURATION:
                    return f"{names} both hold the group without a majority that was called dead"
        return None

    def reaches(self, state: State) -> bool:
        """A recovery is committed, or the operator has no plan left."""
        return any(attempt.phase == RECOVERED for attempt in state.plans) or state.plans[-1].phase == OVER
