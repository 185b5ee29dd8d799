"""Ordinary consensus in the model of logs (recovery_logs.py): elections, appends, commits, and the entries of a leader by force."""

from collections.abc import Iterator

from Tests.Models.log_states import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    Entry,
    Log,
    LogBounds,
    LogRules,
    Node,
    State,
    common,
    has_both,
    is_majority,
    last_recovered,
    members,
)


class Consensus:
    """What voters do among themselves, and what they commit."""

    def __init__(self, rules: LogRules, bounds: LogBounds) -> None:
        self.rules = rules
        self.bounds = bounds
        self.everyone = (1 << bounds.voters) - 1
        self.names = "ABCDE"

    # What is known of generations.

    def number(self, state: State, generation: int) -> int:
        """The number of a generation."""
        return 1 if generation == 0 else state.plans[generation - 1].number

    def scope(self, state: State, generation: int) -> int:
        """What the messages of a generation are told apart by."""
        if self.rules.scope == "exact":
            return generation
        return self.number(state, generation) if self.rules.scope == "number" else 0

    def heard_number(self, state: State, node: Node) -> int:
        """The greatest number that a node knows of."""
        known = [self.number(state, node.generation)]
        if node.overtaken:
            known += [plan.number for place, plan in enumerate(state.plans, 1) if self.is_recovered(state, place)]
        return max(known)

    def newer(self, state: State, one: int, other: int) -> bool:
        """Whether a generation ends another."""
        left, right = self.number(state, one), self.number(state, other)
        return left > right or (self.rules.ids_are_ordered and left == right and one > other)

    def survivors(self, plan: int) -> int:
        """Those whom a plan does not call dead."""
        return self.everyone & ~self.bounds.plans[plan - 1][1]

    def is_recovered(self, state: State, generation: int) -> bool:
        """Whether the recovery of a generation is committed."""
        return generation > 0 and last_recovered(state.history[generation]) == generation

    def may_campaign(self, node: Node) -> bool:
        """Whether it takes part in ordinary elections."""
        if node.overtaken:
            return False
        return node.generation == 0 or not self.rules.prepared_wait or has_both(node.log, node.generation)

    def has_forced(self, node: Node) -> bool:
        """Whether who leads by force has appended both entries in this term."""
        return any(entry[0] == node.term and entry[1] == "members" for entry in node.log)

    # Steps.

    def put(self, state: State, index: int, node: Node) -> State:
        """The state with one node replaced."""
        return state._replace(nodes=state.nodes[:index] + (node,) + state.nodes[index + 1:])

    def settle(self, state: State) -> State:
        """Drops what can have no effect any more, and notes what is committed by now."""
        leaders = {}
        for index, node in enumerate(state.nodes):
            if node.role != FOLLOWER:
                leaders[self.scope(state, node.generation), node.term, index] = node
        campaigns = {key for key, node in leaders.items() if node.role == CANDIDATE}
        keys = {(scope, term) for scope, term, _ in leaders}
        terms = [node.term for index, node in enumerate(state.nodes)
                 if node.generation == 0 and not node.overtaken and node.role != LEADER]
        lowest = min(terms, default=99)
        exact = self.rules.scope == "exact" and self.rules.generation_synced
        state = state._replace(
            votes=frozenset(vote for vote in state.votes if (vote[0], vote[1], vote[3]) in campaigns),
            acknowledged=frozenset(word for word in state.acknowledged if (word[0], word[1]) in keys),
            sent=frozenset(log for log in state.sent if not (exact and log[0] == 0 and log[1] < lowest)),
        )
        history = state.history
        for (scope, term, index), node in leaders.items():
            if node.role != LEADER:
                continue
            voters = members(node.log, self.everyone)
            if node.forced and not self.has_forced(node):
                voters = 1 << index
            for length in range(len(node.log), 0, -1):
                if node.log[length - 1][0] != term:
                    break
                having = 0
                for word in state.acknowledged:
                    if word[0] == scope and word[1] == term and word[3] >= length:
                        having |= 1 << word[2]
                if is_majority(having, voters):
                    history = self.note(history, node.generation, node.log[:length])
                    if last_recovered(node.log[:length]) == node.generation > 0 and not node.applied:
                        state = self.put(state, index, node._replace(applied=True))
                    break
        return state._replace(history=history)

    def note(self, history: tuple[Log, ...], generation: int, log: Log) -> tuple[Log, ...]:
        """The history with what was just committed; one that contradicts it is kept as a mark of two histories."""
        known = history[generation]
        if common(known, log) < min(len(known), len(log)):
            log = ((0, "two histories", 0),)
        elif len(log) <= len(known):
            return history
        if known[:1] == ((0, "two histories", 0),):
            return history
        return history[:generation] + (log,) + history[generation + 1:]

    def raft_steps(self, state: State, index: int, node: Node) -> Iterator[tuple[str, State]]:
        """What ordinary consensus does."""
        name = self.names[index]
        scope = self.scope(state, node.generation)
        if node.synced < len(node.log):
            changed = node._replace(synced=len(node.log))
            after = self.put(state, index, changed)
            if node.role == LEADER:
                after = self.acknowledge(after, scope, node.term, index, len(node.log))
            yield f"{name} syncs its log", self.settle(after)
        if node.overtaken:
            return
        if node.role == LEADER:
            yield from self.leader_steps(state, index, node, scope)
        elif self.may_campaign(node) and members(node.log, self.everyone) >> index & 1:
            limit = self.bounds.terms if node.generation == 0 else self.bounds.terms + 2
            if node.term < limit:
                changed = node._replace(
                    term=node.term + 1, vote=index, role=CANDIDATE, synced=len(node.log), former_term=-1)
                after = self.put(state, index, changed)
                after = after._replace(votes=after.votes | {(scope, changed.term, index, index)})
                yield f"{name} campaigns in term {changed.term}", self.settle(after)
        if node.role == CANDIDATE:
            yield from self.candidate_steps(state, index, node, scope)
        yield from self.append_steps(state, index, node, scope)

    def leader_steps(self, state: State, index: int, node: Node, scope: int) -> Iterator[tuple[str, State]]:
        """What a leader proposes."""
        name = self.names[index]
        if node.forced and not self.has_forced(node):
            if (node.term, "recovered", node.generation) not in node.log:
                entry: Entry = (node.term, "recovered", node.generation)
            else:
                entry = (node.term, "members", 1 << index)
            yield f"{name} appends {entry[1]}", self.propose(state, index, node, scope, entry)
            return
        if node.generation == 0:
            if len(node.log) < self.bounds.entries:
                yield f"{name} appends leaves", self.propose(state, index, node, scope, (node.term, "leaves", index))
            return
        plain = sum(1 for entry in node.log if entry[1] == "plain")
        if plain < self.bounds.later:
            entry = (node.term, "plain", state.crashes)
            yield f"{name} appends another entry", self.propose(state, index, node, scope, entry)
        committed = len(state.history[node.generation])
        settled = all(entry[1] != "members" for entry in node.log[committed:])
        own = any(entry[0] == node.term for entry in node.log[:committed])
        now = members(node.log, self.everyone)
        if settled and own and now.bit_count() <= self.bounds.grows:
            for other, peer in enumerate(state.nodes):
                if not now >> other & 1 and not peer.overtaken and self.scope(state, peer.generation) == scope:
                    entry = (node.term, "members", now | 1 << other)
                    yield f"{name} gives {self.names[other]} a vote", self.propose(state, index, node, scope, entry)

    def propose(self, state: State, index: int, node: Node, scope: int, entry: Entry) -> State:
        """A leader with one more entry, which is on its way to everybody at once."""
        log = node.log + (entry,)
        # Only of who is forced it matters what a crash leaves: the others may stop acting, which is no less.
        if node.forced:
            after = self.put(state, index, node._replace(log=log))
        else:
            after = self.put(state, index, node._replace(log=log, synced=len(log)))
            after = self.acknowledge(after, scope, node.term, index, len(log))
        sent = after.sent - {(scope, node.term, index, node.log)} | {(scope, node.term, index, log)}
        return self.settle(after._replace(sent=sent))

    def acknowledge(self, state: State, scope: int, term: int, index: int, length: int) -> State:
        """The state in which a node has said how far its log is the leader's."""
        kept = {word for word in state.acknowledged if word[:3] != (scope, term, index)}
        before = max((word[3] for word in state.acknowledged if word[:3] == (scope, term, index)), default=0)
        return state._replace(acknowledged=frozenset(kept | {(scope, term, index, max(before, length))}))

    def candidate_steps(self, state: State, index: int, node: Node, scope: int) -> Iterator[tuple[str, State]]:
        """Votes for a candidate, and its victory."""
        voters = members(node.log, self.everyone)
        having = 0
        for vote in state.votes:
            if vote[:2] == (scope, node.term) and vote[3] == index:
                having |= 1 << vote[2]
        if is_majority(having, voters):
            after = self.put(state, index, node._replace(role=LEADER))
            after = after._replace(sent=after.sent | {(scope, node.term, index, node.log)})
            after = self.acknowledge(after, scope, node.term, index, node.synced)
            yield f"{self.names[index]} leads in term {node.term}", self.settle(after)
        mine = (node.log[-1][0] if node.log else 0, len(node.log))
        for other, peer in enumerate(state.nodes):
            if other == index or having >> other & 1 or not voters >> other & 1 or not self.may_campaign(peer):
                continue
            if self.scope(state, peer.generation) != scope or peer.term > node.term:
                continue
            theirs = (peer.log[-1][0] if peer.log else 0, len(peer.log))
            if theirs > mine or (peer.term == node.term and peer.vote not in (-1, index)):
                continue
            after = self.put(state, other, peer._replace(term=node.term, vote=index, role=FOLLOWER, forced=False))
            after = after._replace(votes=after.votes | {(scope, node.term, other, index)})
            yield f"{self.names[other]} votes for {self.names[index]} in term {node.term}", self.settle(after)

    def append_steps(self, state: State, index: int, node: Node, scope: int) -> Iterator[tuple[str, State]]:
        """What it may take of a leader, of now or of long ago: one entry more, and the word for it."""
        for sent_scope, term, leader, log in state.sent:
            if sent_scope != scope or leader == index or term < node.term:
                continue
            if node.role == LEADER and term == node.term:
                continue
            # A leader finds the last place where both have an entry of the same term.
            match = min(len(node.log), len(log))
            while match > 0 and node.log[match - 1][0] != log[match - 1][0]:
                match -= 1
            grown = node.log if match == len(log) else node.log[:match] + log[match:match + 1]
            length = min(match + 1, len(log))
            vote = node.vote if term == node.term else -1
            changed = node._replace(
                term=term, vote=vote, role=FOLLOWER, log=grown, synced=len(grown), forced=False, former_term=-1)
            after = self.acknowledge(self.put(state, index, changed), scope, term, index, length)
            if state.nodes[leader].generation != node.generation > 0:
                after = after._replace(prepared=after.prepared | {(node.generation, grown)})
            after = self.settle(after)
            if after != state:
                yield f"{self.names[index]} takes entry {length} of {self.names[leader]}, term {term}", after
